"""One measurement: so many frames at a rate, through one system, to the consumer."""

from dataclasses import asdict, dataclass, field
from typing import Any

from bench.children import Child
from bench.meters import Meter, Stopwatch
from bench.orders import Message
from bench.world import Corner, queues_of

WARM_S = 2.0
_DRAINED_WITHIN_S = 40.0
_ON_TIME_MS = 250.0
_GROWN_MS = 100.0
_ENVELOPED = 1  # the event's closing brace follows the frame


@dataclass(frozen=True, slots=True)
class Figures:
    """A row of the table. Times are from the writing of a frame to its arrival at the consumer."""

    scenario: str
    system: str
    rate: float  # offered
    seconds: float
    services: int
    sent: int
    received: int  # by each service, or the fewest
    lost: int
    duplicated: int
    redelivered: int
    disordered: int
    per_s: float
    sustained: bool
    p50_ms: float
    p99_ms: float
    p999_ms: float
    cpu_us: dict[str, float]  # per event, by process
    peak_mib: float
    others: float  # cores that everything else on the machine kept busy
    more: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> Message:
        return asdict(self)


@dataclass(slots=True)
class Flow:
    """What the sender has been told to send since the consumer began to count."""

    corner: Corner
    first: int
    sent: int = 0
    planned: int = 0
    late_ms: float = 0.0

    def begin(self, rate: float, seconds: float, wallets: float = 0.0) -> None:
        """Does not wait for it; `ended` does."""
        first = self.first + self.sent
        order = {"do": "send", "rate": rate, "seconds": seconds, "first": first, "wallets": wallets}
        self.corner.world.sender.tell(order)
        self.planned += round(rate * seconds)

    def ended(self, within_s: float) -> None:
        told = self.corner.world.sender.answer(within_s)
        self.sent += told["sent"]
        self.late_ms = told["late_ms"]
        self.corner.world.first = self.first + self.sent

    def send(self, rate: float, seconds: float) -> None:
        self.begin(rate, seconds)
        self.ended(seconds + 30)

    @property
    def in_time(self) -> bool:
        return self.sent == self.planned and self.late_ms < _GROWN_MS


def flow(corner: Corner, most: int, enveloped: bool = True) -> Flow:
    """The consumer counts from here on."""
    first = corner.world.first
    queues = {service: queues_of(service) for service in corner.services}
    order = {"do": "start", "queues": queues, "first": first, "most": most, "wrapping": _ENVELOPED * enveloped}
    consuming = corner.consumer().ask(order, 20)["consuming"]
    if consuming != len(queues):
        raise RuntimeError(f"only {consuming} of {len(queues)} services could consume")
    return Flow(corner, first)


def report(flow: Flow, warm: int, **more: object) -> Message:
    """What the consumer saw, once all has come or nothing comes any more."""
    order = {"do": "report", "sent": flow.sent, "warm": warm, "within_s": _DRAINED_WITHIN_S} | more
    return flow.corner.consumer().ask(order, _DRAINED_WITHIN_S + 30)


def watched(corner: Corner, child: Child) -> dict[str, Meter]:
    return {
        child.name: child.meter,
        "broker": corner.world.broker_meter(),
        "consumer": corner.consumer().meter,
        "sender": corner.world.sender.meter,
    }


def measured(corner: Corner, child: Child, scenario: str, rate: float, seconds: float) -> Figures:
    """Warm up, then send at this rate for so long."""
    enveloped = child.name == "ingestor"
    running = flow(corner, round(rate * (WARM_S + seconds)) + 1, enveloped)
    running.send(rate, WARM_S)
    warm = running.sent
    child.meter.forget_peak()
    stopwatch = Stopwatch.start(watched(corner, child))
    running.send(rate, seconds)
    told = report(running, warm)
    return figures(scenario, child, rate, seconds, running, told, stopwatch, max(1, running.sent - warm))


def figures(
    scenario: str, child: Child, rate: float, seconds: float, flow: Flow, told: Message, stopwatch: Stopwatch,
    events: int, more: Message | None = None,
) -> Figures:  # fmt: skip
    each = list(told["services"].values())
    worst = max(each, key=lambda service: service["p99_ms"])
    quarters = worst["quarters_p50_ms"]
    level = quarters[-1] <= min(_ON_TIME_MS, quarters[0] + _GROWN_MS)
    lost = max(service["lost"] for service in each)
    return Figures(
        scenario=scenario,
        system="gateway" if child.name == "ingestor" else child.name,
        rate=rate,
        seconds=seconds,
        services=len(each),
        sent=flow.sent,
        received=min(service["received"] for service in each),
        lost=lost,
        duplicated=sum(service["duplicated"] for service in each),
        redelivered=sum(service["redelivered"] for service in each),
        disordered=sum(service["disordered"] for service in each),
        per_s=min(service["per_s"] for service in each),
        sustained=flow.in_time and level and not lost,
        p50_ms=worst["p50_ms"],
        p99_ms=worst["p99_ms"],
        p999_ms=worst["p999_ms"],
        cpu_us={name: round(used * 1e6 / events, 1) for name, used in stopwatch.used_s().items()},
        peak_mib=child.meter.peak_mib(),
        others=stopwatch.others(),
        more=more or {},
    )
