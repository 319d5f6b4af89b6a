"""Finds nginx, which the tests put in front of the api."""

from pathlib import Path

from deploy.servers.launching import LaunchError, program


def binary() -> Path:
    return program("nginx", "/usr/sbin", "/usr/local/sbin")


def installed() -> bool:
    try:
        binary()
    except LaunchError:
        return False
    return True
