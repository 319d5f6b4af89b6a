"""The WebSocket endpoints."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from random import SystemRandom

import structlog
from aiohttp import WSMsgType, web

from simulator import handshakes
from simulator.clock import Clock
from simulator.connections import Connection, connection_id
from simulator.conversations import (
    AuthRefusal,
    Conversation,
    LinearConversation,
    OptionConversation,
    PrivateConversation,
    SpotConversation,
)
from simulator.exact import Play
from simulator.faults import PONG, Faults, Frame, Where
from simulator.hub import PRIVATE, Client, Hub
from simulator.idle import Idle, limit_of
from simulator.market import Market
from simulator.recordings import Recording
from simulator.signing import Credentials
from simulator.topics import parsed

PATHS = {
    "/v5/public/spot": "spot",
    "/v5/public/linear": "linear",
    "/v5/public/inverse": "inverse",
    "/v5/public/option": "option",
    "/v5/public/spread": "spread",
    "/v5/public/event": "event",
    "/v5/public/misc/status": "status",
    "/v5/private": PRIVATE,
}
GOING_AWAY = 1001

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Sockets:
    def __init__(
        self,
        hub: Hub,
        markets: dict[str, Market],
        credentials: Credentials,
        clock: Clock,
        latency_s: float,
        exact: Recording | None,
        speed: float,
        faults: Faults,
    ) -> None:
        self._hub = hub
        self._markets = markets
        self._credentials = credentials
        self._clock = clock
        self._latency_s = latency_s
        self._exact = exact
        self._speed = speed
        self._faults = faults
        self._random = SystemRandom()

    def routes(self) -> list[web.RouteDef]:
        return [web.get(path, self._handler(endpoint)) for path, endpoint in PATHS.items()]

    async def close(self) -> None:
        """Close all connections."""
        clients = list(self._hub.clients.values())
        await asyncio.gather(*(client.connection.close(GOING_AWAY, "") for client in clients))
        for client in clients:
            client.connection.abort()

    def _handler(self, endpoint: str) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._serve(endpoint, request)

        return handle

    async def _serve(self, endpoint: str, request: web.Request) -> web.StreamResponse:
        if fault := self._faults.take("handshake", Where(endpoint=endpoint)):
            return await handshakes.spoil(request, fault)
        connection = Connection(connection_id(self._random), endpoint, str(request.remote), self._clock.seconds())
        client = Client(connection, self._conversation(endpoint, connection.id))
        websocket = web.WebSocketResponse(timeout=0.5, autoping=False)
        await websocket.prepare(request)
        connection.attach(websocket, request.transport)
        self._hub.welcome(client)
        log.info("connection opened", endpoint=endpoint, conn_id=connection.id)
        tasks = [_started(task, connection) for task in self._background(client, request)]
        try:
            await self._listen(client, websocket)
        finally:
            self._hub.farewell(client)
            await _cancelled(tasks)
            log.info("connection closed", endpoint=endpoint, conn_id=connection.id, code=websocket.close_code)
        return websocket

    def _background(self, client: Client, request: web.Request) -> list[Coroutine[None, None, None]]:
        tasks: list[Coroutine[None, None, None]] = [client.connection.write()]
        if client.connection.endpoint == PRIVATE:
            limit_s = limit_of(request.query.get("max_active_time"))
            tasks.append(self._cut_when_idle(client, Idle(client.connection.opened_s, limit_s)))
        if self._exact is not None and client.connection.endpoint == self._exact.category:
            client.play = Play(self._exact, self._speed, lambda topic, text: self._hub.send(client, topic, text))
            tasks.append(client.play.run())
        return tasks

    async def _listen(self, client: Client, websocket: web.WebSocketResponse) -> None:
        """Read requests and answer each a little later, in order."""
        requests: asyncio.Queue[tuple[float, str]] = asyncio.Queue()
        answering = _started(self._answer(client, requests), client.connection)
        try:
            async for message in websocket:
                client.connection.received += 1
                if message.type is WSMsgType.TEXT:
                    requests.put_nowait((self._clock.seconds() + self._latency_s, message.data))
                elif message.type is WSMsgType.PING:
                    client.connection.send(Frame(message.data, PONG))
        finally:
            await _cancelled([answering])

    async def _answer(self, client: Client, requests: asyncio.Queue[tuple[float, str]]) -> None:
        while True:
            due_s, text = await requests.get()
            if (wait_s := due_s - self._clock.seconds()) > 0:
                await asyncio.sleep(wait_s)
            client.connection.active_s = self._clock.seconds()
            self._hub.heard(client, text)

    async def _cut_when_idle(self, client: Client, idle: Idle) -> None:
        while True:
            check_s = idle.next_check(self._clock.seconds())
            await asyncio.sleep(check_s - self._clock.seconds())
            if idle.expired(client.connection.active_s, check_s):
                log.info("idle connection cut", conn_id=client.connection.id)
                client.connection.abort()
                return

    def _conversation(self, endpoint: str, conn_id: str) -> Conversation:
        match endpoint:
            case "private":
                refuses = partial(self._refuses, endpoint, conn_id)
                refusal = partial(self._auth_refusal, conn_id)
                return PrivateConversation(conn_id, self._credentials, refuses, refusal)
            case "option" | "spread":
                return OptionConversation(conn_id, partial(self._takes, endpoint, conn_id))
            case "spot" | "status":
                takes = partial(self._takes, endpoint, conn_id)
                return SpotConversation(conn_id, takes, partial(self._offers, endpoint))
            case _:
                return LinearConversation(conn_id, partial(self._takes, endpoint, conn_id))

    def _takes(self, endpoint: str, conn_id: str, topic: str) -> bool:
        return self._knows(endpoint, topic) and not self._refuses(endpoint, conn_id, topic)

    def _knows(self, endpoint: str, topic: str) -> bool:
        recorded = self._exact is not None and self._exact.category == endpoint and topic in self._exact.topics
        return recorded or self._markets[endpoint].knows(topic)

    def _offers(self, endpoint: str, topic: str) -> bool:
        return parsed(endpoint, topic) is not None or self._knows(endpoint, topic)

    def _refuses(self, endpoint: str, conn_id: str, topic: str) -> bool:
        return self._faults.take("refuse_topic", Where(endpoint, conn_id, topic)) is not None

    def _auth_refusal(self, conn_id: str) -> AuthRefusal | None:
        fault = self._faults.take("refuse_auth", Where(PRIVATE, conn_id))
        return None if fault is None else AuthRefusal(fault.details["message"], fault.details["close"])


def _started(work: Coroutine[None, None, None], connection: Connection) -> asyncio.Task[None]:
    """A task whose failure ends the connection, so that a bug does not look like silence."""

    def check(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            connection.abort()

    task = asyncio.create_task(work)
    task.add_done_callback(check)
    return task


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task
