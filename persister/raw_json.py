"""JSON whose outer objects and lists keep the text that they were parsed from."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from json.decoder import scanstring  # type: ignore[attr-defined]  # undocumented: a unit test pins its behaviour
from typing import Any, NoReturn, TypeAlias

Mark: TypeAlias = Callable[[str, int], re.Match[str] | None]

_SPACE: Mark = re.compile(r"[ \t\n\r]*").match
_PLAIN_MEMBER: Mark = re.compile(  # most members are a text without escapes: one match does for them
    r'[ \t\n\r]*"([^"\\\x00-\x1f]*)"[ \t\n\r]*:[ \t\n\r]*"([^"\\\x00-\x1f]*)"[ \t\n\r]*[,}]'
).match
_NAME_BEGINS: Mark = re.compile(r'[ \t\n\r]*"').match
_COLON: Mark = re.compile(r"[ \t\n\r]*:[ \t\n\r]*").match
_COMMA_OR_BRACE: Mark = re.compile(r"[ \t\n\r]*[,}]").match
_COMMA_OR_BRACKET: Mark = re.compile(r"[ \t\n\r]*[,\]]").match


@dataclass(frozen=True, slots=True)
class RawPart:
    """An object or a list, and the text that it was parsed from."""

    value: Any  # dict[str, …] or list[…] of raw parts, down to `depth`; below it, what json makes of the text
    text: str


def parse(text: str, depth: int) -> Any:
    """The text as JSON: objects and lists of its `depth` outer levels as RawPart, numbers as Decimal.

    Of equal names in an object the last one counts. Raises ValueError for what is not valid JSON.
    """
    try:
        value, end = _value(text, _past_space(text, 0), depth)
    except (StopIteration, RecursionError, ArithmeticError) as error:
        raise ValueError(f"not valid JSON ({type(error).__name__})") from error
    if _past_space(text, end) != len(text):
        raise ValueError(f"not valid JSON (unexpected text at character {end})")
    return value


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    if not text.startswith(("{", "["), at):
        value, end = _scan(text, at)
        return value, end
    if not depth:
        value, end = _scan(text, at)
    elif text[at] == "{":
        value, end = _members(text, at, depth - 1)
    else:
        value, end = _elements(text, at, depth - 1)
    return RawPart(value, text[at:end]), end


def _members(text: str, at: int, depth: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    at = _past_space(text, at + 1)
    if text.startswith("}", at):
        return found, at + 1
    while True:
        plain = _PLAIN_MEMBER(text, at)
        if plain:
            found[plain[1]], at = plain[2], plain.end()
        else:
            name, at = scanstring(text, _past(text, at, _NAME_BEGINS), True)
            found[name], at = _value(text, _past(text, at, _COLON), depth)
            at = _past(text, at, _COMMA_OR_BRACE)
        if text[at - 1] == "}":
            return found, at


def _elements(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    found: list[Any] = []
    at = _past_space(text, at + 1)
    if text.startswith("]", at):
        return found, at + 1
    while True:
        value, at = _value(text, _past_space(text, at), depth)
        found.append(value)
        at = _past(text, at, _COMMA_OR_BRACKET)
        if text[at - 1] == "]":
            return found, at


def _past(text: str, at: int, mark: Mark) -> int:
    found = mark(text, at)
    if found is None:
        raise ValueError(f"not valid JSON (unexpected text at character {at})")
    return found.end()


def _past_space(text: str, at: int) -> int:
    found = _SPACE(text, at)
    return found.end() if found else at


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"not valid JSON ({text})")


_scan = json.JSONDecoder(parse_float=Decimal, parse_int=Decimal, parse_constant=_no_number).scan_once  # type: ignore[attr-defined]
