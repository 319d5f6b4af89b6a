"""Reads the body of a request as strict JSON (RFC 8259)."""

import json
import math
from typing import Any, NoReturn

from flask import Request

from api.http.errors import ApiError

MAX_BYTES = 65_536
MAX_DEPTH = 8
_CLOSE = {"Connection": "close"}  # the rest of the body must not be taken for the next request


def read(request: Request) -> Any:
    """The body's value; raises ApiError for anything but well-formed JSON within the limits."""
    if request.mimetype != "application/json" or request.mimetype_params.get("charset", "utf-8").lower() != "utf-8":
        raise ApiError(415, "unsupported_media_type", "Content-Type must be application/json, in UTF-8")
    return parsed(_bytes(request))


def parsed(body: bytes) -> Any:
    try:
        value = json.loads(
            body.decode("utf-8"),
            parse_constant=_reject_constant,
            parse_float=_number,
            object_pairs_hook=_without_repeats,
        )
    except UnicodeDecodeError as error:
        raise _malformed("it must be UTF-8") from error
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        raise _malformed(str(error)) from error
    _check(value, 1)
    return value


def _bytes(request: Request) -> bytes:
    if (request.content_length or 0) > MAX_BYTES:
        raise _too_large()
    body = bytearray()
    stream = request.environ["wsgi.input"]  # not request.stream: that ends a chunked body silently at its limit
    try:
        while len(body) <= MAX_BYTES and (part := stream.read(_left(request, body))):
            body += part
    except Exception as error:  # gunicorn's own, for malformed chunks or a caller that disconnected
        raise _cut_short() from error
    if len(body) > MAX_BYTES:
        raise _too_large()
    if len(body) < (request.content_length or 0):
        raise _cut_short()
    return bytes(body)


def _left(request: Request, body: bytearray) -> int:
    ends = MAX_BYTES + 1 if request.content_length is None else request.content_length
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
    if depth > MAX_DEPTH:
        raise _too_deep()


def _check_text(text: str) -> None:
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise _malformed("a string contains a lone surrogate")
    if "\0" in text:
        raise _malformed("a string contains NUL")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is repeated within one object")
    return found


def _number(text: str) -> float:
    """7.0 is 7: JSON knows one kind of number."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is out of range")
    return int(number) if number.is_integer() else number


def _reject_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not valid JSON")


def _malformed(why: str) -> ApiError:
    return ApiError(400, "malformed_json", f"the body is not well-formed JSON: {why}")


def _cut_short() -> ApiError:
    return ApiError(400, "malformed_body", "the body is incomplete; send it again", headers=_CLOSE)


def _too_deep() -> ApiError:
    return ApiError(400, "too_deep", f"the body is nested deeper than {MAX_DEPTH} levels, the maximum")


def _too_large() -> ApiError:
    return ApiError(413, "body_too_large", f"the body is longer than {MAX_BYTES} bytes, the maximum", headers=_CLOSE)
