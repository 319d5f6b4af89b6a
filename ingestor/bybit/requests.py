"""The requests that wait for an answer, and what an answer means for each of their topics.

websocket/connect: one answer per request. It carries the request's `req_id`, except on option and spread.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from ingestor.bybit import messages
from ingestor.bybit.actions import Send
from ingestor.bybit.messages import Reply

REQUESTS_IN_FLIGHT = 20
ANSWER_WITHIN_S = 5.0
_ALREADY_SUBSCRIBED = "already subscribed"


class Verdict(Enum):
    """What an answer to subscribe means for one topic."""

    ACKNOWLEDGED = auto()
    REFUSED = auto()
    RETRY = auto()  # another topic of the request was refused, and this one with it
    RETRY_ALONE = auto()  # one of the topics was refused, and the answer does not name it


@dataclass(frozen=True, slots=True)
class PendingRequest:
    op: str  # subscribe or unsubscribe
    topics: tuple[str, ...]
    due_at: float


@dataclass(slots=True)
class PendingRequests:
    """Makes requests, and finds the request that an answer belongs to."""

    _by_id: dict[str, PendingRequest] = field(default_factory=dict)
    _count: int = 0

    @property
    def free(self) -> int:
        """How many more may be sent now."""
        return REQUESTS_IN_FLIGHT - len(self._by_id)

    def send(self, op: str, topics: Iterable[str], now: float) -> Send:
        """`op` is subscribe or unsubscribe."""
        request = PendingRequest(op, tuple(topics), now + ANSWER_WITHIN_S)
        self._count += 1
        req_id = f"{op[0]}{self._count}"
        self._by_id[req_id] = request
        return Send(messages.request(op, request.topics, req_id))

    def answered(self, reply: Reply) -> PendingRequest | None:
        """The request that this answers, which is not pending any more; None for an answer to none of them."""
        if reply.req_id is not None:
            return self._by_id.pop(reply.req_id, None)
        for req_id, request in self._by_id.items():
            if _could_answer(reply, request):
                return self._by_id.pop(req_id)
        return None

    def take_overdue(self, now: float) -> list[PendingRequest]:
        """Those without an answer in time, which are not pending any more."""
        overdue = [req_id for req_id, request in self._by_id.items() if request.due_at <= now]
        return [self._by_id.pop(req_id) for req_id in overdue]

    def due_at(self) -> float:
        return min((request.due_at for request in self._by_id.values()), default=float("inf"))

    def include(self, topic: str) -> bool:
        return any(topic in request.topics for request in self._by_id.values())

    def clear(self) -> None:
        """The connection is lost: nothing is going to be answered."""
        self._by_id.clear()


def verdicts(reply: Reply, topics: Sequence[str]) -> dict[str, Verdict]:
    """What an answer to subscribe means for each of the request's topics.

    linear, inverse and spot refuse a request as a whole and name one topic at most; option and private answer per
    topic (websocket/connect).
    """
    if reply.succeeded or reply.failed:
        taken = set(topics) - set(reply.failed) if reply.success else set(reply.succeeded)
        return {topic: Verdict.ACKNOWLEDGED if topic in taken else Verdict.REFUSED for topic in topics}
    if reply.success:
        return dict.fromkeys(topics, Verdict.ACKNOWLEDGED)
    named = topics[0] if len(topics) == 1 else messages.named_topic(reply.text)
    if named is None or named not in topics:
        return dict.fromkeys(topics, Verdict.RETRY_ALONE)
    already = _ALREADY_SUBSCRIBED in reply.text
    return dict.fromkeys(topics, Verdict.RETRY) | {named: Verdict.ACKNOWLEDGED if already else Verdict.REFUSED}


def _could_answer(reply: Reply, request: PendingRequest) -> bool:
    if reply.succeeded or reply.failed:
        return request.op == reply.op and not set(request.topics).isdisjoint(reply.succeeded + reply.failed)
    return not reply.op or reply.op == request.op
