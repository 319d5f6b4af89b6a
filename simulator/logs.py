"""Log lines: JSON, or readable text on a terminal."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog


def configure() -> None:
    last: list[Any] = (
        [structlog.dev.ConsoleRenderer()]
        if sys.stdout.isatty()
        else [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
            _with_process,
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_NamedLogger,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Forwarder()], level=logging.WARNING, force=True)


class _NamedLogger(structlog.PrintLogger):
    """Prints to standard output with the name of the logger."""

    def __init__(self, name: str = "simulator") -> None:
        super().__init__()
        self.name = name


def _with_process(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {**event, "process": "simulator"}


class _Forwarder(logging.Handler):
    """Forwards log records of libraries that use `logging`."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        log.log(record.levelno, record.getMessage(), exc_info=record.exc_info)
