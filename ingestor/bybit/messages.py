"""Bybit's frames as values, and ours as text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from common.errors import BadMessage
from common.foreign import plain
from ingestor.bybit.identity import LATEST_MS

_BATCH = re.compile(r"follows:\s*\[(?P<held>[^\]]*)\].*\[(?P<failed>[^\]]*)\]", re.DOTALL)
_NAMED = re.compile(r"topic:\s*(?P<after>[^\s,\]]+)|:\s*\[(?P<inside>[^\]]+)\]")
_LONGEST_WORDS = 4096  # far more than what Bybit says of a request's ten topics
_LONGEST_NUMBER = len(str(LATEST_MS))


class Data(NamedTuple):
    """A push of a topic. `time_ms` is Bybit's own; `update_id` is a book's `u`."""

    topic: str
    time_ms: int | None
    snapshot: bool
    update_id: int | None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to auth, subscribe or unsubscribe. The lists are filled where Bybit answers per topic."""

    op: str
    success: bool
    words: str
    req_id: str | None
    code: int | None = None
    held: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pong:
    """`exchange_ms` where the endpoint's pong carries the exchange's clock."""

    exchange_ms: int | None


def read(frame: bytes) -> Data | Reply | Pong:
    """The frame's meaning; raises BadMessage unless it is one JSON object that Bybit could have sent."""
    try:
        doc = orjson.loads(frame)
    except orjson.JSONDecodeError as error:
        raise BadMessage(f"no JSON: {error}") from error
    if type(doc) is not dict:
        raise BadMessage("no JSON object")
    topic = doc.get("topic")
    if type(topic) is str:
        return _data(topic, doc)
    if doc.get("type") == "COMMAND_RESP":
        return _command_response(doc)
    return _reply(doc)


def subscribe(topics: Sequence[str], req_id: str) -> str:
    return _request("subscribe", list(topics), req_id)


def unsubscribe(topics: Sequence[str], req_id: str) -> str:
    return _request("unsubscribe", list(topics), req_id)


def authenticate(key: str, expires_ms: int, signature: str) -> str:
    return _request("auth", [key, expires_ms, signature], "auth")


PING = '{"req_id":"ping","op":"ping"}'


def named_topic(words: str) -> str | None:
    """The one topic that a refusal names, if it names one."""
    found = _NAMED.search(words)
    return (found["after"] or found["inside"]) if found else None


def _request(op: str, args: list[Any], req_id: str) -> str:
    return orjson.dumps({"req_id": req_id, "op": op, "args": args}).decode()


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
    held, failed = _texts(lists.get("successTopics")), _texts(lists.get("failTopics"))
    return Reply("subscribe", doc.get("success") is True, plain(_words(doc)), None, held=held, failed=failed)


def _reply(doc: dict[str, Any]) -> Reply | Pong:
    op = doc.get("op")
    if op == "pong" or (op == "ping" and doc.get("ret_msg") == "pong"):
        return Pong(_pong_ms(doc.get("args")))
    if type(op) is not str and "success" not in doc:
        raise BadMessage("neither a topic nor a reply")
    code = doc.get("retCode")
    words = _words(doc)
    req_id = doc.get("req_id", doc.get("reqId"))
    lists = _BATCH.search(words)
    return Reply(
        op=str(op or ""),
        success=doc.get("success") is True or code == 0,
        words=plain(words),
        req_id=req_id if type(req_id) is str and req_id else None,
        code=code if type(code) is int else None,
        held=_listed(lists["held"]) if lists else (),
        failed=_listed(lists["failed"]) if lists else (),
    )


def _words(doc: dict[str, Any]) -> str:
    words = doc.get("ret_msg", doc.get("retMsg"))
    return words[:_LONGEST_WORDS] if type(words) is str else ""


def _pong_ms(args: Any) -> int | None:
    told = args[0] if type(args) is list and args else None
    if type(told) is not str or len(told) > _LONGEST_NUMBER or not (told.isascii() and told.isdigit()):
        return None
    return int(told)


def _texts(found: Any) -> tuple[str, ...]:
    return tuple(text for text in found if type(text) is str) if type(found) is list else ()


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part for part in re.split(r"[\s,]+", text) if part)
