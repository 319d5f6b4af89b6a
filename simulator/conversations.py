"""The requests of one connection, and the responses and actions of the endpoint."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from simulator import replies
from simulator.signing import Credentials, socket_refusal
from simulator.topics import PRIVATE_KINDS

SPOT_ARGS_PER_REQUEST = 10
OPTION_ARGS = 2000
ARGS_CHARACTERS = 21_000


@dataclass(frozen=True, slots=True)
class Send:
    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class Open:
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Close:
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the connection after all messages have been sent."""


Act = Send | Open | Close | HangUp


@dataclass(frozen=True, slots=True)
class Request:
    op: str
    req_id: str | None
    args: Any

    def topics(self) -> list[str] | None:
        """The arguments as topics; None if they are not a list of texts."""
        good = isinstance(self.args, list) and bool(self.args) and all(isinstance(a, str) for a in self.args)
        return list(self.args) if good else None


class Dialect(Protocol):
    def pong(self, req_id: str | None, now_ms: int, /) -> str: ...

    def done(self, op: str, req_id: str | None, topics: Sequence[str], /) -> str: ...

    def refused(self, op: str, req_id: str | None, why: str, /) -> str: ...


class Conversation:
    """What all endpoints have in common; subclasses implement subscribing."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self.held: dict[str, None] = {}

    def received(self, text: str, now_ms: int) -> list[Act]:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return [Send(self._dialect.refused("", None, replies.not_json(text)), "refusal")]
        if not isinstance(message, dict):
            return [Send(self._dialect.refused("", None, replies.not_json(text)), "refusal")]
        req_id = message.get("req_id")
        request = Request(str(message.get("op", "")), None if req_id is None else str(req_id), message.get("args"))
        return self._answered(request, now_ms)

    def _answered(self, request: Request, now_ms: int) -> list[Act]:
        if request.op == "ping":
            return [Send(self._dialect.pong(request.req_id, now_ms), "pong")]
        if request.op not in ("subscribe", "unsubscribe"):
            return self._refuse(request, replies.INVALID_OP)
        if (topics := request.topics()) is None:
            return self._refuse(request, replies.PARAMS_ERROR)
        return self._subscribe(request, topics) if request.op == "subscribe" else self._unsubscribe(request, topics)

    def _subscribe(self, _request: Request, topics: list[str], /) -> list[Act]:
        raise NotImplementedError

    def _unsubscribe(self, request: Request, topics: list[str]) -> list[Act]:
        """Unsubscribe; a topic without a subscription is accepted too."""
        for topic in topics:
            self.held.pop(topic, None)
        return [Close(tuple(topics)), self._done(request, topics)]

    def _hold(self, topics: Sequence[str]) -> Open:
        self.held.update(dict.fromkeys(topics))
        return Open(tuple(topics))

    def _done(self, request: Request, topics: Sequence[str]) -> Send:
        return Send(self._dialect.done(request.op, request.req_id, topics), "ack")

    def _refuse(self, request: Request, why: str) -> list[Act]:
        return [Send(self._dialect.refused(request.op, request.req_id, why), "refusal")]

    def _too_long(self, topics: Sequence[str]) -> bool:
        return sum(map(len, self.held)) + sum(map(len, topics)) > ARGS_CHARACTERS


class LinearConversation(Conversation):
    """Linear, inverse and event: all topics or none, and the data before the ack."""

    def __init__(self, conn_id: str, knows: Callable[[str], bool]) -> None:
        super().__init__(replies.Linear(conn_id))
        self._knows = knows

    def _subscribe(self, request: Request, topics: list[str]) -> list[Act]:
        if self._too_long(topics):
            return self._refuse(request, replies.PARAMS_ERROR)
        for number, topic in enumerate(topics):
            if not self._knows(topic):
                return self._refuse(request, replies.HANDLER_NOT_FOUND.format(topic))
            if topic in self.held or topic in topics[:number]:
                return self._refuse(request, replies.ALREADY_SUBSCRIBED.format(topic))
        return [self._hold(topics), self._done(request, topics)]


class SpotConversation(Conversation):
    """Spot and status: all topics or none, ten at most, and the ack before the data."""

    def __init__(self, conn_id: str, knows: Callable[[str], bool], offers: Callable[[str], bool]) -> None:
        super().__init__(replies.Spot(conn_id))
        self._knows = knows
        self._offers = offers

    def _subscribe(self, request: Request, topics: list[str]) -> list[Act]:
        if len(topics) > SPOT_ARGS_PER_REQUEST:
            return self._refuse(request, replies.TOO_MANY_ARGS)
        if self._too_long(topics):
            return self._refuse(request, replies.PARAMS_ERROR)
        for topic in topics:
            if not self._offers(topic):
                return self._refuse(request, replies.HANDLER_NOT_FOUND.format(topic))
            if not self._knows(topic):
                return self._refuse(request, replies.INVALID_SYMBOL.format(topic))
        return [self._done(request, topics), self._hold(topics)]


class OptionConversation(Conversation):
    """Option and spread: topic by topic."""

    def __init__(self, conn_id: str, knows: Callable[[str], bool]) -> None:
        dialect = replies.Option(conn_id)
        super().__init__(dialect)
        self._lists = dialect.lists
        self._knows = knows

    def _subscribe(self, _request: Request, topics: list[str]) -> list[Act]:
        room = OPTION_ARGS - len(self.held)
        good = [topic for topic in topics if self._knows(topic)]
        good = [] if len(good) > room or self._too_long(topics) else good
        failed = [topic for topic in topics if topic not in good]
        return [Send(self._lists(failed, good), "refusal" if failed else "ack"), self._hold(good)]


@dataclass(frozen=True, slots=True)
class AuthRefusal:
    """A fault: authentication fails with this reason."""

    message: str
    hang_up: bool


class PrivateConversation(Conversation):
    def __init__(
        self,
        conn_id: str,
        credentials: Credentials,
        refuses: Callable[[str], bool] = lambda _topic: False,
        refusal: Callable[[], AuthRefusal | None] = lambda: None,
    ) -> None:
        dialect = replies.Private(conn_id)
        super().__init__(dialect)
        self._partial = dialect.partial
        self._credentials = credentials
        self._refuses = refuses
        self._refusal = refusal
        self.authenticated = False

    def _answered(self, request: Request, now_ms: int) -> list[Act]:
        if request.op == "auth":
            return self._authenticate(request, now_ms)
        if request.op in ("subscribe", "unsubscribe") and not self.authenticated:
            return self._refuse(request, replies.NOT_AUTHORIZED)
        return super()._answered(request, now_ms)

    def _authenticate(self, request: Request, now_ms: int) -> list[Act]:
        if (refusal := self._refusal()) is not None:
            reply = Send(self._dialect.refused("auth", request.req_id, refusal.message), "auth")
            return [reply, HangUp()] if refusal.hang_up else [reply]
        if (why := socket_refusal(request.args, self._credentials, now_ms)) is not None:
            return [Send(self._dialect.refused("auth", request.req_id, why), "auth")]
        self.authenticated = True
        return [Send(self._dialect.done("auth", request.req_id, ()), "auth")]

    def _subscribe(self, request: Request, topics: list[str]) -> list[Act]:
        good: list[str] = []
        for topic in topics:
            if not self._refuses(topic) and self._fits(topic, [*topics, *self.held]):
                good.append(topic)
        failed = [topic for topic in topics if topic not in good]
        opened = self._hold(good)
        if failed:
            return [opened, Send(self._partial(request.op, request.req_id, good, failed), "refusal")]
        return [opened, self._done(request, topics)]

    @staticmethod
    def _fits(topic: str, others: Sequence[str]) -> bool:
        """Exists, and all-in-one and categorised forms of one kind are not mixed."""
        kind, category = split_private(topic)
        forms = [split_private(other) for other in others]
        return kind in PRIVATE_KINDS and all(bool(c) == bool(category) for k, c in forms if k == kind)


def split_private(topic: str) -> tuple[str, str]:
    """order.linear -> (order, linear); what has no category keeps its whole name."""
    kind, _, category = topic.rpartition(".")
    return (kind, category) if category in PRIVATE_KINDS.get(kind, ()) else (topic, "")
