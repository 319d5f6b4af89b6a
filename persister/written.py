"""JSON whose outer parts keep the text they were written as."""

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, NoReturn

_SPACE = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True, slots=True)
class Part:
    """A value, and the text that it was read from."""

    value: Any  # above `depth`: dict[str, Part] or list[Part]; below it: what json makes of the text
    text: str


def parse(text: str, depth: int) -> Part:
    """The text as JSON, its `depth` outer levels as parts, numbers as Decimal; raises ValueError."""
    try:
        part, end = _part(text, _past_space(text, 0), depth)
    except (StopIteration, RecursionError, ArithmeticError) as error:
        raise ValueError(f"no JSON ({type(error).__name__})") from error
    if _past_space(text, end) != len(text):
        raise ValueError(f"no JSON (something follows at character {end})")
    return part


def _part(text: str, at: int, depth: int) -> tuple[Part, int]:
    value: Any
    if depth and text.startswith("{", at):
        value, end = _members(text, at, depth - 1)
    elif depth and text.startswith("[", at):
        value, end = _elements(text, at, depth - 1)
    else:
        value, end = _scan(text, at)
    return Part(value, text[at:end]), end


def _members(text: str, at: int, depth: int) -> tuple[dict[str, Part], int]:
    found: dict[str, Part] = {}
    at = _past_space(text, at + 1)
    if text.startswith("}", at):
        return found, at + 1
    while True:
        if not text.startswith('"', at):
            raise ValueError(f"no JSON (a name is missing at character {at})")
        name, at = scanstring(text, at + 1, True)
        at = _past(text, at, ":")
        found[name], at = _part(text, at, depth)
        at = _past_space(text, at)
        if text.startswith("}", at):
            return found, at + 1
        at = _past(text, at, ",")


def _elements(text: str, at: int, depth: int) -> tuple[list[Part], int]:
    found: list[Part] = []
    at = _past_space(text, at + 1)
    if text.startswith("]", at):
        return found, at + 1
    while True:
        part, at = _part(text, at, depth)
        found.append(part)
        at = _past_space(text, at)
        if text.startswith("]", at):
            return found, at + 1
        at = _past(text, at, ",")


def _past(text: str, at: int, mark: str) -> int:
    at = _past_space(text, at)
    if not text.startswith(mark, at):
        raise ValueError(f"no JSON ({mark!r} is missing at character {at})")
    return _past_space(text, at + 1)


def _past_space(text: str, at: int) -> int:
    if at < len(text) and text[at] not in " \t\n\r":
        return at
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"no JSON ({text})")


_scan = json.JSONDecoder(parse_float=Decimal, parse_int=Decimal, parse_constant=_no_number).scan_once  # type: ignore[attr-defined]
