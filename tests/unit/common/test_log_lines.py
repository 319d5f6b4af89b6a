"""One JSON object a line, whatever is in it."""

import json
import logging
from collections.abc import Iterator
from io import BytesIO, StringIO, TextIOWrapper
from typing import Any

import pytest
import structlog

from common import logs


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[StringIO]:
    written = StringIO()
    monkeypatch.setattr("sys.stdout", written)
    structlog.contextvars.clear_contextvars()  # other tests ask the api in this thread
    logs.configure("tests", json=True)
    yield written
    logs.configure("tests", json=False)
    structlog.reset_defaults()
    logging.basicConfig(force=True)


@pytest.mark.parametrize("value", ["é", "a\nb", "\ud800", 2**70, {"a": [1]}, None, 1.5, ValueError("why")])
def test_any_value_is_logged(lines: StringIO, value: Any):
    with logs.traced("abc"):
        structlog.get_logger("room").info("happened", value=value)
    [line] = lines.getvalue().splitlines()
    logged = json.loads(line)
    assert list(logged)[:6] == ["timestamp", "level", "logger", "event", "process", "trace_id"]
    assert logged["value"] == (str(value) if isinstance(value, Exception) else value)
    assert (logged["process"], logged["trace_id"], logged["logger"]) == ("tests", "abc", "room")


def test_a_straight_line_is_the_same_line(lines: StringIO, monkeypatch: pytest.MonkeyPatch):
    structlog.get_logger("room").info("happened", value=1)
    [usual] = map(json.loads, lines.getvalue().splitlines())
    beneath = BytesIO()
    monkeypatch.setattr("sys.stdout", TextIOWrapper(beneath))
    with logs.traced("abc"):
        logs.straight("room")("happened", value=1)
    straight = json.loads(beneath.getvalue())
    assert list(straight) == list(usual)
    assert straight | {"timestamp": usual["timestamp"], "trace_id": None} == usual
    assert straight["trace_id"] == "abc"
    assert straight["timestamp"].endswith("Z")


def test_below_the_level_nothing_is_written(lines: StringIO):
    logs.configure("tests", level="WARNING", json=True)
    logs.straight("room")("happened")
    assert lines.getvalue() == ""


def test_a_logger_made_before_the_configuration_follows_it(lines: StringIO):
    structlog.reset_defaults()
    write = logs.straight("room")
    logs.configure("tests", level="WARNING", json=True)
    write("happened")
    assert lines.getvalue() == ""
