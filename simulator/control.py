"""The control interface: inject faults and list connections."""

import asyncio
import base64
import binascii
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import structlog
from aiohttp import web

from simulator import handshakes
from simulator.account import Account
from simulator.clock import Clock
from simulator.conversations import PrivateConversation
from simulator.faults import BINARY, GARBAGE, HUGE_BYTES, TEXT, Faults, Frame, shown
from simulator.fields import BadField, Fields
from simulator.hub import Client, Hub
from simulator.replies import WRONG_SIGNATURE
from simulator.samples import compact, sample

log = structlog.get_logger(__name__)

Row = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Act = Callable[[Fields], Awaitable[Row]]

ENDPOINTS = ("spot", "linear", "inverse", "option", "spread", "event", "status", "private")
REST_FORMS = ("http", "error", "empty", "slow", "hang", "garbage")
LONGEST_S = 86_400.0
MOST_TIMES = 1_000_000
CLOSE_CODES = (1000, 4999)


@dataclass(frozen=True, slots=True)
class Kind:
    """The filters and the required fields of one kind of fault."""

    filters: tuple[str, ...]
    details: Callable[[Fields], Row] = lambda _fields: {}
    lasting: bool = False


ANY_SOCKET = ("endpoint", "connection")
ANY_DATA = ("endpoint", "connection", "topic")

KINDS = {
    "mute": Kind(ANY_DATA, lasting=True),
    "mute_pongs": Kind(ANY_SOCKET, lasting=True),
    "silence": Kind(ANY_SOCKET, lasting=True),
    "lose_update": Kind(ANY_DATA),
    "duplicate": Kind(ANY_DATA),
    "reorder": Kind(ANY_DATA),
    "garbage": Kind(
        ANY_DATA,
        lambda fields: {
            "form": fields.text("form", among=GARBAGE),
            "instead": fields.flag("instead", False),
            "bytes": fields.whole("bytes", HUGE_BYTES, 1, 64 * 1024 * 1024),
        },
    ),
    "slow": Kind(
        ANY_DATA,
        lambda fields: {
            "pieces": fields.whole("pieces", 10, 2, 1000),
            "pause_s": fields.number("pause_s", 0.1, 0, 60),
        },
    ),
    "stall": Kind(ANY_DATA),
    "stale_snapshot": Kind(ANY_DATA, lambda fields: {"age_s": fields.number("age_s", 1.5, 0, 60)}),
    "refuse_topic": Kind(ANY_DATA, lasting=True),
    "late_ack": Kind(ANY_SOCKET, lambda fields: {"delay_s": fields.number("delay_s", 6.0, 0, 600)}),
    "lost_ack": Kind(ANY_SOCKET),
    "refuse_auth": Kind(
        ("connection",),
        lambda fields: {"message": fields.text("message", WRONG_SIGNATURE), "close": fields.flag("close", False)},
        lasting=True,
    ),
    "handshake": Kind(
        ("endpoint",),
        lambda fields: {
            "form": fields.text("form", among=handshakes.FORMS),
            "retry_after_s": fields.whole("retry_after_s", 5, 0, 3600),
            "pause_s": fields.number("pause_s", 0.5, 0, 60),
        },
    ),
    "rest": Kind(
        ("path",),
        lambda fields: {
            "form": fields.text("form", among=REST_FORMS),
            "status": fields.whole("status", 503, 400, 599),
            "code": fields.whole("code", 10016, 1, 9_999_999),
            "message": fields.text("message", "Server error."),
            "delay_s": fields.number("delay_s", 3.0, 0, 600),
            "retry_after_s": fields.whole("retry_after_s", 5, 0, 3600),
        },
    ),
    "lagging_wallet": Kind((), lambda fields: {"lag_s": fields.number("lag_s", 10.0, 0, 600)}, lasting=True),
}


class Control:
    def __init__(self, hub: Hub, faults: Faults, account: Account, clock: Clock) -> None:
        self._hub = hub
        self._faults = faults
        self._account = account
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        acts: dict[str, Act] = {
            "faults": self.add_fault,
            "drop": self.drop,
            "abort": self.abort,
            "reset": self.reset,
            "maintenance": self.maintenance,
            "restart-book": self.restart_book,
            "inject": self.inject,
            "wallet": self.set_wallet,
            "clock": self.set_clock,
        }
        return [
            *(web.post(f"/control/{name}", _answering(act)) for name, act in acts.items()),
            web.get("/control/connections", self.connections),
            web.get("/control/faults", self.faults),
            web.delete("/control/faults", self.clear),
            web.delete("/control/faults/{number}", self.remove),
        ]

    async def connections(self, _request: web.Request) -> web.Response:
        return web.json_response({"connections": [self._described(client) for client in self._hub.clients.values()]})

    async def faults(self, _request: web.Request) -> web.Response:
        return web.json_response({"faults": shown(self._faults.listed(), self._clock.seconds())})

    async def clear(self, _request: web.Request) -> web.Response:
        self._faults.clear()
        self._clock.skew_ms = 0
        log.info("faults cleared")
        return web.json_response({"faults": []})

    async def remove(self, request: web.Request) -> web.Response:
        number = request.match_info["number"]
        if not number.isdigit() or not self._faults.remove(int(number)):
            return web.json_response({"error": f"fault {number!r} does not exist"}, status=404)
        return web.json_response({"removed": int(number)})

    async def add_fault(self, fields: Fields) -> Row:
        name = fields.text("kind", among=tuple(KINDS))
        kind = KINDS[name]
        only = self._only(fields, kind.filters)
        details = kind.details(fields)
        seconds = fields.number("seconds", 0, 0, LONGEST_S) if "seconds" in fields else None
        times = None if kind.lasting or seconds is not None else 1
        if "count" in fields:
            times = fields.whole("count", 1, 1, MOST_TIMES)
        fields.done()
        fault = self._faults.add(name, only, times, seconds, details)
        log.info("fault set", kind=name, id=fault.id, **only)
        return shown([fault], self._clock.seconds())[0]

    async def drop(self, fields: Fields) -> Row:
        """Close connections with a close frame."""
        clients = self._chosen(fields)
        code = fields.whole("code", 1000, *CLOSE_CODES)
        reason = fields.text("reason", "")
        fields.done()
        await asyncio.gather(*(client.connection.close(code, reason) for client in clients))
        return _named(clients)

    async def abort(self, fields: Fields) -> Row:
        """Close connections without a close frame."""
        clients = self._chosen(fields)
        fields.done()
        for client in clients:
            client.connection.abort()
        return _named(clients)

    async def reset(self, fields: Fields) -> Row:
        """Close connections with a TCP reset."""
        clients = self._chosen(fields)
        fields.done()
        for client in clients:
            client.connection.reset()
        return _named(clients)

    async def maintenance(self, fields: Fields) -> Row:
        """Close all connections and accept none for a while."""
        seconds = fields.number("seconds", 10.0, 0, LONGEST_S)
        fields.done()
        away = {"form": "503", "retry_after_s": 5, "pause_s": 0.5}
        self._faults.add("handshake", {}, None, seconds, away)
        upgrading = {"form": "error", "code": 10016, "message": "System is under maintenance.", "delay_s": 0.0}
        self._faults.add("rest", {}, None, seconds, upgrading)
        clients = list(self._hub.clients.values())
        for client in clients:
            client.connection.abort()
        return {**_named(clients), "seconds": seconds}

    async def restart_book(self, fields: Fields) -> Row:
        """Send a snapshot with u = 1 to all subscribers of the book."""
        endpoint = fields.text("endpoint", "linear", among=ENDPOINTS[:-1])
        topic = fields.text("topic")
        fields.done()
        restarted = self._hub.restart_book(endpoint, topic)
        if not restarted:
            raise BadField("topic", topic, "a subscribed order book")
        return {"told": restarted}

    async def inject(self, fields: Fields) -> Row:
        """Send a given frame."""
        frame = _frame(fields)
        if "topic" in fields:
            endpoint = fields.text("endpoint", "linear", among=ENDPOINTS)
            clients = self._hub.holders(endpoint, fields.text("topic"))
        else:
            clients = self._chosen(fields)
        fields.done()
        for client in clients:
            client.connection.send(frame)
        return _named(clients)

    async def set_wallet(self, fields: Fields) -> Row:
        """Change a coin's values, and push them."""
        coin = fields.text("coin")
        pattern = sample("wallet")["data"][0]["coin"][0]
        values = fields.rest()
        for name, value in values.items():
            _check_coin_value(name, value, pattern)
        push = self._account.set_wallet(coin, values, self._clock.market_ms())
        self._hub.push([push])
        row: Row = json.loads(push.text)
        return row

    async def set_clock(self, fields: Fields) -> Row:
        """Set the skew of the exchange's clock."""
        self._clock.skew_ms = fields.whole("skew_ms", 0, -86_400_000, 86_400_000)
        fields.done()
        return {"skew_ms": self._clock.skew_ms}

    def _only(self, fields: Fields, filters: tuple[str, ...]) -> dict[str, str]:
        only = {name: fields.text(name) for name in filters if name in fields}
        if "endpoint" in only:
            fields.text("endpoint", among=ENDPOINTS)
        if "connection" in only:
            self._known(only["connection"])
        return only

    def _chosen(self, fields: Fields) -> list[Client]:
        """One connection, those of an endpoint, or all."""
        if "connection" in fields:
            return [self._known(fields.text("connection"))]
        clients = list(self._hub.clients.values())
        if "endpoint" not in fields:
            return clients
        endpoint = fields.text("endpoint", among=ENDPOINTS)
        return [client for client in clients if client.connection.endpoint == endpoint]

    def _known(self, conn_id: str) -> Client:
        if conn_id not in self._hub.clients:
            raise BadField("connection", conn_id, "the id of an open connection")
        return self._hub.clients[conn_id]

    def _described(self, client: Client) -> Row:
        connection, now_s = client.connection, self._clock.seconds()
        conversation = client.conversation
        signed_in = conversation.authenticated if isinstance(conversation, PrivateConversation) else None
        return {
            "id": connection.id,
            "endpoint": connection.endpoint,
            "peer": connection.peer,
            "open_s": round(now_s - connection.opened_s, 3),
            "idle_s": round(now_s - connection.active_s, 3),
            "authenticated": signed_in,
            "topics": sorted(client.topics),
            "sent": connection.sent,
            "received": connection.received,
        }


def _answering(act: Act) -> Handler:
    """A handler that reads a JSON object and answers with one; errors are a 400."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return web.json_response(await act(Fields(_body(await request.text()))))
        except BadField as bad:
            problem = {"error": str(bad), "field": bad.field, "value": bad.value, "allowed": bad.allowed}
            return web.json_response(problem, status=400)

    return handle


def _body(text: str) -> Any:
    try:
        return json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        raise BadField("body", text[:100], "a JSON object") from None


def _frame(fields: Fields) -> Frame:
    given = [name for name in ("text", "frame", "base64") if name in fields]
    if len(given) != 1:
        raise BadField("text", given, "exactly one of text, frame (JSON) and base64")
    opcode = BINARY if fields.flag("binary", False) else TEXT
    match given[0]:
        case "text":
            return Frame(fields.text("text").encode(), opcode)
        case "frame":
            return Frame(compact(fields.anything("frame")).encode(), opcode)
        case _:
            return Frame(_decoded(fields.text("base64")), opcode)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise BadField("base64", text[:100], "bytes in base64") from None


def _check_coin_value(name: str, value: Any, pattern: Row) -> None:
    if name not in pattern or name == "coin":
        raise BadField(name, value, f"one of {', '.join(key for key in pattern if key != 'coin')}")
    if isinstance(pattern[name], bool):
        if not isinstance(value, bool):
            raise BadField(name, value, "true or false")
        return
    if value == "" and name != "walletBalance":
        return
    try:
        finite = isinstance(value, str) and Decimal(value).is_finite()
    except InvalidOperation:
        finite = False
    if not finite:
        raise BadField(name, value, "a number as text")


def _named(clients: list[Client]) -> Row:
    return {"connections": [client.connection.id for client in clients]}
