"""The REST endpoints."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from simulator.answers import Desk, Query, Refused
from simulator.clock import Clock
from simulator.hub import Hub
from simulator.samples import compact
from simulator.signing import Credentials, request_refusal

Answer = Callable[[Query, int], dict[str, Any]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SIGNING_HEADERS = ("X-BAPI-API-KEY", "X-BAPI-TIMESTAMP", "X-BAPI-SIGN")


class Rest:
    def __init__(self, desk: Desk, hub: Hub, credentials: Credentials, clock: Clock) -> None:
        self._desk = desk
        self._hub = hub
        self._credentials = credentials
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        public = [web.get(path, self._public(answer)) for path, answer in self._desk.public().items()]
        private = [web.get(path, self._private(answer)) for path, answer in self._desk.private().items()]
        return public + private

    def _public(self, answer: Answer) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return self._answered(request, answer)

        return handle

    def _private(self, answer: Answer) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            if any(name not in request.headers for name in SIGNING_HEADERS):
                return web.Response(status=401)
            payload = request.raw_path.partition("?")[2]
            refusal = request_refusal(request.headers, payload, self._credentials, self._clock.now_ms())
            if refusal is not None:
                return self._enveloped(refusal.code, refusal.message, {})
            return self._answered(request, answer)

        return handle

    def _answered(self, request: web.Request, answer: Answer) -> web.Response:
        self._hub.advance()
        try:
            return self._enveloped(0, "OK", answer(request.query, self._clock.now_ms()))
        except Refused as refused:
            return self._enveloped(refused.code, refused.message, {})

    def _enveloped(self, code: int, message: str, result: dict[str, Any]) -> web.Response:
        body = {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}}
        return web.json_response(body | {"time": self._clock.now_ms()}, dumps=_dumps)


def _dumps(body: Any) -> str:
    """Rows that are JSON text already go in as they are."""
    rows = body["result"].get("list")
    if not rows or not isinstance(rows[0], str):
        return compact(body)
    hole = "the rows go here"
    text = compact(body | {"result": body["result"] | {"list": hole}})
    return text.replace(json.dumps(hole), f"[{','.join(rows)}]", 1)
