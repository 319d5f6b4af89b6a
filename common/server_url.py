"""Parses server addresses: lists of hosts, and URLs such as postgresql://user:password@a,b:5433/name?sslmode=require."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from urllib.parse import parse_qsl, unquote, urlsplit

HOSTS = "host or host:port, several separated by commas"
HostAndPort = tuple[str, int]


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """The parts of a URL, decoded; None or empty for a part that the URL does not contain."""

    scheme: str
    user: str | None
    password: str | None = field(repr=False)
    hosts: tuple[HostAndPort, ...]
    path: str | None
    options: Mapping[str, str]


def parse_hosts(text: str, default_port: int) -> tuple[HostAndPort, ...]:
    """Parse `host` or `host:port`, several separated by commas; an IPv6 address with a port is in brackets.

    Raises ValueError, whose text does not repeat the value.
    """
    try:
        return tuple(_host_and_port(each, default_port) for each in text.split(","))
    except ValueError:
        raise ValueError(f"hosts must be {HOSTS}") from None


def parse_url(text: str, ports: Mapping[str, int]) -> ServerUrl:
    """Parse the URL of one server or of several; `ports` has the default port of each scheme that is allowed.

    Raises ValueError. Its text repeats no part of the URL, because a wrong URL can have its password anywhere.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ports:
        raise ValueError("it must begin with " + " or ".join(f"{each}://" for each in ports))
    location, _, query = rest.partition("?")
    authority, slash, path = location.partition("/")
    login, _, hosts = authority.rpartition("@")
    user, colon, password = login.partition(":")
    if "#" in rest or "@" in path + query or "@" in login:
        raise ValueError("special characters in user, password and path must be percent-encoded")
    return ServerUrl(
        scheme=scheme,
        user=unquote(user) or None,
        password=unquote(password) if colon else None,
        hosts=parse_hosts(hosts, ports[scheme]),
        path=unquote(path) if slash and path else None,
        options=dict(parse_qsl(query, keep_blank_values=True)),
    )


def format_hosts(hosts: tuple[HostAndPort, ...]) -> str:
    """The text that `parse_hosts` parses."""
    return ",".join(f"{f'[{host}]' if ':' in host else host}:{port}" for host, port in hosts)


def _host_and_port(text: str, default_port: int) -> HostAndPort:
    text = text.strip()
    if text.count(":") > 1 and not text.startswith("["):
        return str(IPv6Address(text)), default_port
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(text)
    if any(character.isspace() for character in parts.netloc) or parts.port == 0:
        raise ValueError(text)
    return parts.hostname, parts.port or default_port
