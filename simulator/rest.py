"""The REST endpoints."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from simulator.answers import Query, Refused, RestHandlers
from simulator.clock import Clock
from simulator.faults import Faults, Where
from simulator.hub import Hub
from simulator.samples import compact
from simulator.signing import Credentials, request_refusal

Answer = Callable[[Query, int], dict[str, Any]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HANG_S = 3600.0
SIGNING_HEADERS = ("X-BAPI-API-KEY", "X-BAPI-TIMESTAMP", "X-BAPI-SIGN")


class Rest:
    def __init__(
        self, handlers: RestHandlers, hub: Hub, credentials: Credentials, clock: Clock, faults: Faults
    ) -> None:
        self._handlers = handlers
        self._hub = hub
        self._credentials = credentials
        self._clock = clock
        self._faults = faults

    def routes(self) -> list[web.RouteDef]:
        public = [web.get(path, self._public(answer)) for path, answer in self._handlers.public().items()]
        private = [web.get(path, self._private(answer)) for path, answer in self._handlers.private().items()]
        return public + private

    def _public(self, answer: Answer) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._spoilt(request) or self._answered(request, answer)

        return handle

    def _private(self, answer: Answer) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            if spoilt := await self._spoilt(request):
                return spoilt
            if any(name not in request.headers for name in SIGNING_HEADERS):
                return web.Response(status=401)
            payload = request.raw_path.partition("?")[2]
            refusal = request_refusal(request.headers, payload, self._credentials, self._clock.now_ms())
            if refusal is not None:
                return self._enveloped(refusal.code, refusal.message, {})
            return self._answered(request, answer)

        return handle

    async def _spoilt(self, request: web.Request) -> web.StreamResponse | None:
        """The response that a fault demands, if any; a slow response is only delayed."""
        fault = self._faults.take("rest", Where(path=request.path))
        if fault is None:
            return None
        details = fault.details
        match details["form"]:
            case "http":
                late = {"Retry-After": str(details["retry_after_s"])} if details["status"] == 429 else {}
                return web.Response(status=details["status"], headers=late)
            case "error":
                return self._enveloped(details["code"], details["message"], {})
            case "empty":
                return self._enveloped(0, "OK", {"list": []})
            case "garbage":
                return web.Response(text="<html>upstream request timeout</html>", content_type="text/html")
            case "hang":
                await asyncio.sleep(HANG_S)
            case _:
                await asyncio.sleep(details["delay_s"])
        return None

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
    """Insert rows that are JSON text already without changes."""
    rows = body["result"].get("list")
    if not rows or not isinstance(rows[0], str):
        return compact(body)
    hole = "the rows go here"
    text = compact(body | {"result": body["result"] | {"list": hole}})
    return text.replace(json.dumps(hole), f"[{','.join(rows)}]", 1)
