"""The parts of the simulator that unit tests play with, and the clock they play by."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulator import recordings
from simulator.instruments import Catalogue, catalogue
from simulator.market import Market
from simulator.tape import Loop, Tape, loop_of

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "bybit"
NOW_MS = 1_795_165_000_000  # 2026-11-20 08:56:40 UTC


@pytest.fixture(scope="session")
def listed() -> Catalogue:
    return catalogue(NOW_MS)


@pytest.fixture(scope="session")
def loop() -> Loop:
    return loop_of(recordings.shipped())


@pytest.fixture
def linear(listed: Catalogue, loop: Loop) -> Market:
    """The linear market with the tape, brought to NOW_MS."""
    market = Market("linear", listed, 1, Tape(loop, "", NOW_MS))
    market.advance(NOW_MS)
    return market


@pytest.fixture
def market(listed: Catalogue) -> Callable[[str], Market]:
    """A made-up market of some category."""
    return lambda category: Market(category, listed, 1)


@pytest.fixture(scope="session")
def real() -> Callable[..., Any]:
    """A real message: a line of a sample file, or one of the documents."""

    def load(name: str, line: int = 0) -> Any:
        if name.endswith(".json"):
            return json.loads((SAMPLES / name).read_text())
        return json.loads((SAMPLES / name).read_text().splitlines()[line])

    return load


@pytest.fixture(scope="session")
def shape() -> Callable[[Any], Any]:
    return _shape


def _shape(body: Any) -> Any:
    """The keys in their order and the kinds of values, without the values; of a list the first element."""
    if isinstance(body, dict):
        return [(key, _shape(value)) for key, value in body.items()]
    if isinstance(body, list):
        return [_shape(body[0])] if body else []
    return type(body).__name__
