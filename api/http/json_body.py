"""JSON as strictly as it is defined."""

import json
import math
from typing import Any, NoReturn

from flask import Request

from api.http.errors import Refusal

MOST_BYTES = 65_536
MOST_DEPTH = 8
_CLOSE = {"Connection": "close"}  # what is left of the body is nobody's next request


def read(request: Request) -> Any:
    """The body's value; raises Refusal for anything but well-formed JSON of a sane size."""
    if request.mimetype != "application/json" or request.mimetype_params.get("charset", "utf-8").lower() != "utf-8":
        raise Refusal(415, "unsupported_media_type", "the body is to be application/json in UTF-8")
    return parsed(_bytes(request))


def parsed(body: bytes) -> Any:
    try:
        value = json.loads(
            body.decode("utf-8"), parse_constant=_no_number, parse_float=_number, object_pairs_hook=_without_repeats
        )
    except UnicodeDecodeError as error:
        raise _malformed("it is not UTF-8") from error
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        raise _malformed(str(error)) from error
    _check(value, 1)
    return value


def _bytes(request: Request) -> bytes:
    if (request.content_length or 0) > MOST_BYTES:
        raise _too_large()
    body = bytearray()
    stream = request.environ["wsgi.input"]  # not request.stream: that ends a chunked body silently at its limit
    try:
        while len(body) <= MOST_BYTES and (part := stream.read(_left(request, body))):
            body += part
    except Exception as error:  # gunicorn's own, for chunks that are none or a caller that went away
        raise _cut_short() from error
    if len(body) > MOST_BYTES:
        raise _too_large()
    if len(body) < (request.content_length or 0):
        raise _cut_short()
    return bytes(body)


def _left(request: Request, body: bytearray) -> int:
    ends = MOST_BYTES + 1 if request.content_length is None else request.content_length
    return ends - len(body)


def _check(value: Any, depth: int) -> None:
    """A value's depth is that of the objects and lists around it, itself included."""
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict):
        _check_depth(depth)
        for name, each in value.items():
            _check_text(name)
            _check(each, depth + 1)
    elif isinstance(value, list):
        _check_depth(depth)
        for each in value:
            _check(each, depth + 1)


def _check_depth(depth: int) -> None:
    if depth > MOST_DEPTH:
        raise _too_deep()


def _check_text(text: str) -> None:
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise _malformed("a string holds a lone surrogate")
    if "\0" in text:
        raise _malformed("a string holds NUL")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return found


def _number(text: str) -> float:
    """7.0 is 7: JSON knows one kind of number."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is out of range")
    return int(number) if number.is_integer() else number


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not valid JSON")


def _malformed(why: str) -> Refusal:
    return Refusal(400, "malformed_json", f"the body is not well-formed JSON: {why}")


def _cut_short() -> Refusal:
    return Refusal(400, "malformed_body", "the body could not be read to its end", headers=_CLOSE)


def _too_deep() -> Refusal:
    return Refusal(400, "too_deep", f"the body nests deeper than {MOST_DEPTH} levels")


def _too_large() -> Refusal:
    return Refusal(413, "body_too_large", f"the body is longer than {MOST_BYTES} bytes", headers=_CLOSE)
