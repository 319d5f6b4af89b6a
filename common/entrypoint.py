"""The exit of a process when a setting is wrong."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from common.errors import ConfigError

T = TypeVar("T")

CONFIG = 78  # EX_CONFIG of sysexits.h; supervisord does not start such a process again
SUPERVISED_FOR_S = 3.0  # above startsecs: supervisord retries an earlier exit whatever its status


def run(name: str, main: Callable[[], T], env: Mapping[str, str] = os.environ) -> T:
    """Return what `main` returns; on a ConfigError, print it as one line to stderr and exit with status 78."""
    try:
        return main()
    except ConfigError as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)  # noqa: T201  (before there is a log)
        if "SUPERVISOR_ENABLED" in env:
            time.sleep(SUPERVISED_FOR_S)
        sys.exit(CONFIG)
