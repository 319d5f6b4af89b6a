"""One JSON object a line, whatever is in it."""

import json
import logging
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
import structlog

from common import logs


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[StringIO]:
    written = StringIO()
    monkeypatch.setattr("sys.stdout", written)
    logs.configure("tests", json=True)
    yield written
    structlog.reset_defaults()
    logging.basicConfig(force=True)


@pytest.mark.parametrize("value", ["é", "a\nb", "\ud800", 2**70, {"a": [1]}, None, 1.5, ValueError("why")])
def test_any_value_is_told(lines: StringIO, value: Any):
    with logs.traced("abc"):
        structlog.get_logger("room").info("happened", value=value)
    [line] = lines.getvalue().splitlines()
    told = json.loads(line)
    assert list(told)[:6] == ["timestamp", "level", "logger", "event", "process", "trace_id"]
    assert told["value"] == (str(value) if isinstance(value, Exception) else value)
    assert (told["process"], told["trace_id"], told["logger"]) == ("tests", "abc", "room")
