"""Responses of each endpoint to requests, byte for byte."""

from collections.abc import Sequence
from typing import Any

from simulator.samples import compact

HANDLER_NOT_FOUND = "error:handler not found,topic:{}"
ALREADY_SUBSCRIBED = "error:already subscribed,topic:{}"
INVALID_SYMBOL = "Invalid symbol :[{}]"
TOO_MANY_ARGS = "args size >10"
INVALID_OP = "error:invalid op"
PARAMS_ERROR = "Params Error"
NOT_AUTHORIZED = "Request not authorized"
INVALID_KEY = "API key is invalid."
WRONG_SIGNATURE = "error:the simulator computed another signature"  # Bybit's own words are not known
PARTIAL = (
    "Batch subscription partially succeeded and partially failed."
    "Successful subscriptions are as follows:[{}]. "
    "Subscription to the following topics failed because the topic does not exist "
    "or there is a subscription conflict:[{}]."
)

Reply = dict[str, Any]


class Linear:
    """The linear, inverse and event endpoints: req_id is always there."""

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id

    def pong(self, req_id: str | None, _now_ms: int) -> str:
        return self.answer(True, "pong", req_id, "ping")

    def done(self, op: str, req_id: str | None, _topics: Sequence[str]) -> str:
        return self.answer(True, "", req_id, op)

    def refused(self, op: str, req_id: str | None, why: str) -> str:
        if why == PARAMS_ERROR:
            return compact({"req_id": req_id or "", **self._params_error(op)})
        return self.answer(False, why, req_id, op)

    def _params_error(self, op: str) -> Reply:
        return {"success": False, "ret_msg": PARAMS_ERROR, "conn_id": self._conn_id, "op": op}

    def answer(self, success: bool, message: str, req_id: str | None, op: str) -> str:
        head = {"success": success, "ret_msg": message, "conn_id": self._conn_id}
        return compact({**head, "req_id": req_id or "", "op": op})


class Spot:
    """The spot and status endpoints: req_id only when one was sent."""

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id

    def pong(self, req_id: str | None, _now_ms: int) -> str:
        return self._answer(True, "pong", req_id, "ping")

    def done(self, op: str, req_id: str | None, _topics: Sequence[str]) -> str:
        return self._answer(True, op, req_id, op)

    def refused(self, op: str, req_id: str | None, why: str) -> str:
        return self._answer(False, why, req_id, op)

    def _answer(self, success: bool, message: str, req_id: str | None, op: str) -> str:
        head = {"success": success, "ret_msg": message, "conn_id": self._conn_id}
        return compact({**head, **_echo(req_id), "op": op})


class Option:
    """The option and spread endpoints: topics are named, requests are not."""

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id

    def pong(self, _req_id: str | None, now_ms: int) -> str:
        return compact({"args": [str(now_ms)], "op": "pong"})

    def done(self, _op: str, _req_id: str | None, topics: Sequence[str]) -> str:
        return self.lists([], topics)

    def refused(self, op: str, _req_id: str | None, why: str) -> str:
        return compact({"success": False, "ret_msg": why, "conn_id": self._conn_id, "op": op})

    def lists(self, failed: Sequence[str], succeeded: Sequence[str]) -> str:
        data = {"failTopics": list(failed), "successTopics": list(succeeded)}
        head = {"success": not failed, "conn_id": self._conn_id}
        return compact({**head, "data": data, "type": "COMMAND_RESP"})


class Private:
    """The private endpoint: req_id comes first, when one was sent."""

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id

    def pong(self, req_id: str | None, now_ms: int) -> str:
        body = {"op": "pong", "args": [str(now_ms)], "conn_id": self._conn_id}
        return compact({**_echo(req_id), **body})

    def done(self, op: str, req_id: str | None, _topics: Sequence[str]) -> str:
        return self._answer(True, "", req_id, op)

    def refused(self, op: str, req_id: str | None, why: str) -> str:
        return self._answer(False, why, req_id, op)

    def partial(self, op: str, req_id: str | None, succeeded: Sequence[str], failed: Sequence[str]) -> str:
        message = PARTIAL.format(" ".join(succeeded), " ".join(failed))
        head = {"op": op, "success": False, "conn_id": self._conn_id, "ret_msg": message}
        return compact({**head, **_echo(req_id)})

    def _answer(self, success: bool, message: str, req_id: str | None, op: str) -> str:
        head = {"success": success, "ret_msg": message}
        return compact({**_echo(req_id), **head, "op": op, "conn_id": self._conn_id})


def _echo(req_id: str | None) -> Reply:
    return {} if req_id is None else {"req_id": req_id}


def not_json(text: str) -> str:
    """The complaint of the exchange's parser about its first character."""
    start = text[:10]
    found = text[:1]
    return (
        f"Failed to decode incoming data:readObjectStart: expect {{ or n, but found {found}, "
        f"error found in #1 byte of ...|{start}|..., bigger context ...|{text[:80]}|..."
    )
