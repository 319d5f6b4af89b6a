"""Logging: one JSON object per line on stdout, or readable text on a terminal."""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from structlog.contextvars import get_contextvars
from structlog.typing import EventDict, Processor

_straight: dict[str, Any] = {"process": "", "written": False}
_FIRST = ("timestamp", "level", "logger", "event", "process", "trace_id")


def configure(process: str, level: str = "INFO", json: bool | None = None) -> None:
    """Log our events and those of libraries in one format, always with the process and the trace id."""
    as_json = not sys.stdout.isatty() if json is None else json
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        _stamped(process),
    ]
    ends: list[Processor] = (
        [structlog.processors.format_exc_info, _ordered, structlog.processors.JSONRenderer(_json)]
        if as_json
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]  # locals hold secrets
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.PositionalArgumentsFormatter(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ends],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    _straight.update(process=process, written=as_json and logging.root.isEnabledFor(logging.INFO))
    # No line contains any of these, and looking them up is half the cost of a line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    for chatty in ("pika", "urllib3", "pybit", "websocket", "alembic.runtime.plugins"):
        logging.getLogger(chatty).setLevel("CRITICAL" if chatty in ("pika", "pybit") else "WARNING")


def straight(logger: str) -> Callable[..., None]:
    """The `info` of a logger that is used with every request: structlog's line at a fraction of its cost."""
    log = structlog.get_logger(logger)

    def info(event: str, **fields: Any) -> None:
        if not _straight["written"]:
            log.info(event, **fields)
            return
        first = {"timestamp": datetime.now(UTC), "level": "info", "logger": logger, "event": event}
        line = first | {"process": _straight["process"], "trace_id": None} | get_contextvars() | fields
        sys.stdout.buffer.write(orjson.dumps(line, default=str, option=orjson.OPT_UTC_Z) + b"\n")
        sys.stdout.buffer.flush()

    return info


def _json(event: EventDict, **_options: Any) -> str:
    try:
        return orjson.dumps(event, default=str).decode()
    except orjson.JSONEncodeError:  # a lone surrogate, a number of more than 64 bits
        return json.dumps(event, default=str)


@contextmanager
def traced(trace_id: str | None) -> Iterator[None]:
    """Bind the trace id to every line that is logged within this block."""
    with structlog.contextvars.bound_contextvars(trace_id=trace_id):
        yield


def _stamped(process: str) -> Processor:
    def stamp(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event.setdefault("process", process)
        event.setdefault("trace_id", None)
        return event

    return stamp


def _ordered(_logger: Any, _method: str, event: EventDict) -> EventDict:
    first = {name: event.pop(name) for name in _FIRST if name in event}
    return first | dict(event)
