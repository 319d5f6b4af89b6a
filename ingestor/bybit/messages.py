"""Bybit's frames as values, and our requests as text (websocket/connect)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from common.errors import BadMessage
from common.foreign import plain
from ingestor.bybit.identity import LATEST_MS

_BATCH = re.compile(r"follows:\s*\[(?P<succeeded>[^\]]*)\].*\[(?P<failed>[^\]]*)\]", re.DOTALL)
_NAMED = re.compile(r"topic:\s*(?P<after>[^\s,\]]+)|:\s*\[(?P<inside>[^\]]+)\]")
_LONGEST_TEXT = 4096  # far more than Bybit writes about a request's ten topics
_LONGEST_NUMBER = len(str(LATEST_MS))


_RESTARTED = 1  # the exchange's service restarted, and this is a fresh snapshot


class Data(NamedTuple):
    """A push of a topic. `time_ms` is Bybit's `ts` or `creationTime`; `update_id` is a book's `u`."""

    topic: str
    time_ms: int | None
    snapshot: bool
    update_id: int | None

    @property
    def begins_book(self) -> bool:
        """Whether it replaces the book instead of changing it (websocket/public/orderbook)."""
        return self.snapshot or self.update_id == _RESTARTED


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to auth, subscribe or unsubscribe; `succeeded` and `failed` are topics, where it is per topic."""

    op: str  # empty where the answer does not name it
    success: bool
    text: str
    req_id: str | None
    code: int | None = None
    succeeded: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pong:
    """`exchange_ms` is the exchange's clock, which pongs of option, spread and private carry."""

    exchange_ms: int | None


def read(frame: bytes) -> Data | Reply | Pong:
    """What one text frame means. Raises BadMessage unless it is a JSON object that Bybit could have sent."""
    try:
        doc = orjson.loads(frame)
    except orjson.JSONDecodeError as error:
        raise BadMessage(f"must be valid JSON: {error}") from error
    if type(doc) is not dict:
        raise BadMessage("must be a JSON object")
    topic = doc.get("topic")
    if type(topic) is str:
        return _data(topic, doc)
    if doc.get("type") == "COMMAND_RESP":
        return _command_response(doc)
    return _reply(doc)


def request(op: str, args: Sequence[str | int], req_id: str) -> str:
    """The text of a request; the answer carries its `req_id`, except on option and spread."""
    return orjson.dumps({"req_id": req_id, "op": op, "args": args}).decode()


def authenticate(key: str, expires_ms: int, signature: str) -> str:
    """The text of the request that must succeed before any other on the private endpoint."""
    return request("auth", [key, expires_ms, signature], "auth")


PING = '{"req_id":"ping","op":"ping"}'


def named_topic(text: str) -> str | None:
    """The one topic that a refusal names, None if it names none."""
    found = _NAMED.search(text)
    return (found["after"] or found["inside"]) if found else None


def _data(topic: str, doc: dict[str, Any]) -> Data:
    moment = doc.get("ts")
    if moment is None:
        moment = doc.get("creationTime")
    data = doc.get("data")
    update_id = data.get("u") if type(data) is dict else None
    return Data(
        topic,
        moment if type(moment) is int and 0 <= moment <= LATEST_MS else None,
        doc.get("type") == "snapshot",
        update_id if type(update_id) is int else None,
    )


def _command_response(doc: dict[str, Any]) -> Reply:
    """Option and spread answer per topic, without op and req_id."""
    data = doc.get("data")
    lists = data if type(data) is dict else {}
    succeeded, failed = _texts(lists.get("successTopics")), _texts(lists.get("failTopics"))
    return Reply(
        op="subscribe",
        success=doc.get("success") is True,
        text=plain(_text(doc)),
        req_id=None,
        succeeded=succeeded,
        failed=failed,
    )


def _reply(doc: dict[str, Any]) -> Reply | Pong:
    op = doc.get("op")
    if op == "pong" or (op == "ping" and doc.get("ret_msg") == "pong"):
        return Pong(_pong_ms(doc.get("args")))
    if type(op) is not str and "success" not in doc:
        raise BadMessage("must be a push or a reply")
    code = doc.get("retCode")
    text = _text(doc)
    req_id = doc.get("req_id", doc.get("reqId"))
    lists = _BATCH.search(text)
    return Reply(
        op=str(op or ""),
        success=doc.get("success") is True or code == 0,
        text=plain(text),
        req_id=req_id if type(req_id) is str and req_id else None,
        code=code if type(code) is int else None,
        succeeded=_listed(lists["succeeded"]) if lists else (),
        failed=_listed(lists["failed"]) if lists else (),
    )


def _text(doc: dict[str, Any]) -> str:
    text = doc.get("ret_msg", doc.get("retMsg"))
    return text[:_LONGEST_TEXT] if type(text) is str else ""


def _pong_ms(args: Any) -> int | None:
    digits = args[0] if type(args) is list and args else None
    if type(digits) is not str or len(digits) > _LONGEST_NUMBER or not (digits.isascii() and digits.isdigit()):
        return None
    return int(digits)


def _texts(found: Any) -> tuple[str, ...]:
    return tuple(text for text in found if type(text) is str) if type(found) is list else ()


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part for part in re.split(r"[\s,]+", text) if part)
