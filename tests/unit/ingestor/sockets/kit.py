"""A worker without threads, sockets and real time: the test turns it step by step."""

import json
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from common.channels import of_topic
from common.events import Event
from common.settings import Credentials
from ingestor.bybit.session import Session, Timing
from ingestor.control.gap_store import GapStore
from ingestor.feed.backfill import BackfillRequest, History
from ingestor.feed.event_stream import EventStreams, StreamSource
from ingestor.feed.feed import Feed, Instant
from ingestor.observed import ObservedConnection
from ingestor.sockets.interfaces import Connection, Surroundings
from ingestor.sockets.mailbox import Command, Publish, Subscribe, TopicDropped
from ingestor.sockets.transport import Lost, Unfit
from ingestor.sockets.worker import SocketWorker

WALL_NS = 1_700_000_000_000_000_000
PONG = b'{"success":true,"ret_msg":"pong","conn_id":"c","op":"ping"}'


class Wire:
    """A connection: what the worker sent, and what it is to receive."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.arriving: list[bytes | Unfit] = []
        self.lost: str | None = None
        self.closed = False
        self.close_fails = False
        self.pending = False

    def fileno(self) -> int:
        return 0

    def send(self, text: str) -> None:
        if self.lost is not None:
            raise Lost(self.lost)
        self.sent.append(json.loads(text))

    def receive(self) -> Sequence[bytes | Unfit]:
        if self.lost is not None and not self.arriving:
            raise Lost(self.lost)
        arrived, self.arriving = self.arriving, []
        return arrived

    def close(self) -> None:
        self.closed = True
        if self.close_fails:
            raise RuntimeError("not closed")

    # -- the exchange ---------------------------------------------------------------------------------------

    def push(self, topic: str, **more: object) -> bytes:
        frame = json.dumps({"topic": topic, "type": "snapshot", "ts": 1, "data": more}).encode()
        self.arriving.append(frame)
        return frame

    def ack(self) -> None:
        """Answer every request that has not been answered."""
        for request in self.sent:
            if request["op"] in ("subscribe", "unsubscribe") and not request.pop("answered", False):
                request["answered"] = True
                reply = {"success": True, "ret_msg": "", "req_id": request["req_id"], "op": request["op"]}
                self.arriving.append(json.dumps(reply).encode())

    @property
    def requested(self) -> list[tuple[str, list[str]]]:
        return [(each["op"], each["args"]) for each in self.sent if each["op"] in ("subscribe", "unsubscribe")]


class Turn:
    """The poller, the clocks, the budget and the outbox of one worker."""

    def __init__(self, endpoint: str = "linear", max_age_s: float = 1e9) -> None:
        self.now_s = 0.0
        self.woken = False
        self._wakes = 0
        self.waits: list[float] = []
        self.wires: list[Wire] = []
        self.refusals: list[Lost] = []
        self.budget_waits: list[float] = []
        self.budget_is_private: list[bool] = []  # which share of the budget was used
        self.stops_meanwhile = False  # while the worker waits for the budget
        self.hangs: threading.Event | None = None  # while it is not set, nothing more is connected
        self.taken: list[Event] = []
        self.fails_on: bytes | None = None  # the outbox raises once, at an event that holds this
        self.reported: list[str] = []
        self.requests: list[BackfillRequest] = []
        self.answers: list[Callable[[History], None]] = []  # of REST, to these requests
        self.before_connects: list[tuple[list[str], ObservedConnection]] = []  # handed over and observed by then
        self.offset_ms: int | None = None
        self.closed = False
        self.stop = threading.Event()
        self.gaps = GapStore()
        self.feed = Feed(endpoint, EventStreams(StreamSource("simulator", "01J")).of, self.gaps)
        self.credentials: Credentials | None = Credentials("key", "secret")
        self.worker = SocketWorker(
            3, lambda: self.session(endpoint), self.connect, self, self.feed, self.surroundings(), max_age_s
        )

    def session(self, endpoint: str) -> Session:
        credentials = self.credentials if endpoint == "private" else None
        return Session(endpoint, Timing(), self.now_s, credentials, draw=lambda: 0.5)

    def surroundings(self) -> Surroundings:
        return Surroundings(
            outbox=self,
            clocks=self,
            budget=self,
            changed=lambda: self.reported.append("changed"),
            live=lambda: self.reported.append("live"),
            subscribed=lambda channel: self.reported.append(f"subscribed {channel.topic}"),
            request_backfill=self.request_backfill,
            clock_doubted=lambda: self.reported.append("clock doubted"),
        )

    # -- what the worker uses -------------------------------------------------------------------------------

    def request_backfill(self, request: BackfillRequest, answer: Callable[[History], None]) -> None:
        self.requests.append(request)
        self.answers.append(answer)

    def connect(self) -> Connection:
        self.before_connects.append((self.kinds(), self.worker.observed))
        if self.refusals:
            raise self.refusals.pop(0)
        if self.hangs is not None:
            self.hangs.wait(10)
        self.wires.append(Wire())
        return self.wires[-1]

    def now(self) -> Instant:
        wall_ns = WALL_NS + int(self.now_s * 1e9)
        return Instant(self.now_s, wall_ns, wall_ns // 1_000_000)

    def monotonic_s(self) -> float:
        return self.now_s

    def observe(self, exchange_ms: int, rtt_s: float) -> None:
        self.offset_ms = exchange_ms

    def wait_s(self, private: bool, now: float) -> float:
        self.budget_is_private.append(private)
        if self.stops_meanwhile:
            self.stop.set()
        return self.budget_waits.pop(0) if self.budget_waits else 0.0

    def wait(self, connections: Sequence[Connection], wait_s: float) -> list[Connection]:
        self.waits.append(wait_s)
        self.woken, self._wakes = self._wakes > 0, 0
        return [each for each in connections if isinstance(each, Wire) and (each.arriving or each.lost)]

    @property
    def will_wake(self) -> bool:
        return self._wakes > 0

    def wake(self) -> None:
        self._wakes += 1

    def close(self) -> None:
        self.closed = True

    def put(self, events: Sequence[Event], *, private: bool) -> bool:
        if self.fails_on is not None and any(self.fails_on in event.body for event in events):
            self.fails_on = None
            raise RuntimeError("not foreseen")
        self.taken += events
        return True

    # -- what the test does ---------------------------------------------------------------------------------

    def turn(self, times: int = 3) -> None:
        """The worker takes some steps; the last one has nothing left to do."""
        for _ in range(times):
            self.worker._step(self.stop)

    def passes(self, seconds: float) -> None:
        self.now_s += seconds
        self.turn()

    def command(self, command: Command) -> None:
        if isinstance(command, Publish):
            self.worker.mailbox.put(command)
        elif isinstance(command, TopicDropped):
            self.worker.mailbox.dropped(command)
        else:
            self.worker.mailbox.replace(command)  # type: ignore[arg-type]
        self.turn()

    def subscribe(self, *topics: str) -> None:
        self.command(Subscribe(tuple(of_topic(self.worker.endpoint, topic) for topic in topics)))

    def live(self, *topics: str) -> Wire:
        """Subscribed and acknowledged."""
        self.subscribe(*topics)
        self.wires[-1].ack()
        self.turn()
        return self.wires[-1]

    def time(self, now_s: float) -> datetime:
        """What our wall clock shows then."""
        return datetime.fromtimestamp(WALL_NS / 1e9 + now_s, UTC)

    def executions(self) -> Wire:
        """Private executions are subscribed again after a lost connection, and their backfill is requested."""
        self.subscribe("execution")
        self.authenticate()
        self.wires[-1].lost = "reset"
        self.turn()
        return self.authenticate()

    def authenticate(self) -> Wire:
        """The latest private connection is accepted, and subscribed."""
        self.wires[-1].arriving.append(b'{"success":true,"ret_msg":"","op":"auth","conn_id":"c"}')
        self.turn()
        self.wires[-1].ack()
        self.turn()
        return self.wires[-1]

    def kinds(self) -> list[str]:
        """What was handed to the outbox, in short."""
        bodies = [json.loads(event.body) for event in self.taken]
        return [f"gap {body['data']['state']}" if body["type"] == "bybit.gap" else body["origin"] for body in bodies]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(event.body) for event in self.taken]
