"""One measurement: frames at a rate, through one system, to the consumer."""

from dataclasses import asdict, dataclass, field
from typing import Any

from bench.meters import Meter, Stopwatch
from bench.processes import ChildProcess
from bench.protocol import Message
from bench.world import Sandbox, queues_of

WARM_S = 2.0
_DRAINED_WITHIN_S = 40.0
_ON_TIME_MS = 250.0
_GROWN_MS = 100.0
_ENVELOPED = 1  # the event's closing brace follows the frame


@dataclass(frozen=True, slots=True)
class Measurement:
    """One row of the table. Latencies are from writing a frame to its arrival at the consumer."""

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
    others: float  # cores that all other programs kept busy
    more: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> Message:
        return asdict(self)


@dataclass(slots=True)
class Flow:
    """The frames sent since the consumer started to count."""

    sandbox: Sandbox
    first: int
    sent: int = 0
    planned: int = 0
    late_ms: float = 0.0

    def begin(self, rate: float, seconds: float, wallets: float = 0.0) -> None:
        """Start to send; `ended` waits for it."""
        first = self.first + self.sent
        command = {"do": "send", "rate": rate, "seconds": seconds, "first": first, "wallets": wallets}
        self.sandbox.world.sender.send(command)
        self.planned += round(rate * seconds)

    def ended(self, within_s: float) -> None:
        counted = self.sandbox.world.sender.reply(within_s)
        self.sent += counted["sent"]
        self.late_ms = counted["late_ms"]
        self.sandbox.world.first = self.first + self.sent

    def send(self, rate: float, seconds: float) -> None:
        self.begin(rate, seconds)
        self.ended(seconds + 30)

    @property
    def in_time(self) -> bool:
        return self.sent == self.planned and self.late_ms < _GROWN_MS


def flow(sandbox: Sandbox, most: int, *, enveloped: bool = True) -> Flow:
    """Let the consumers count from now on, up to `most` events."""
    first = sandbox.world.first
    queues = {service: queues_of(service) for service in sandbox.services}
    command = {"do": "start", "queues": queues, "first": first, "most": most, "wrapping": _ENVELOPED * enveloped}
    consuming = sandbox.consumer().request(command, 20)["consuming"]
    if consuming != len(queues):
        raise RuntimeError(f"only {consuming} of {len(queues)} services could consume")
    return Flow(sandbox, first)


def report(flow: Flow, warm: int, **more: object) -> Message:
    """The totals of the consumers, once all events have arrived or no more arrive."""
    command = {"do": "report", "sent": flow.sent, "warm": warm, "within_s": _DRAINED_WITHIN_S} | more
    return flow.sandbox.consumer().request(command, _DRAINED_WITHIN_S + 30)


def watched(sandbox: Sandbox, child: ChildProcess) -> dict[str, Meter]:
    return {
        child.name: child.meter,
        "broker": sandbox.world.broker_meter(),
        "consumer": sandbox.consumer().meter,
        "sender": sandbox.world.sender.meter,
    }


def measured(sandbox: Sandbox, child: ChildProcess, scenario: str, rate: float, seconds: float) -> Measurement:
    """Warm up, then send at this rate for this time."""
    enveloped = child.name == "ingestor"
    running = flow(sandbox, round(rate * (WARM_S + seconds)) + 1, enveloped=enveloped)
    running.send(rate, WARM_S)
    warm = running.sent
    child.meter.forget_peak()
    stopwatch = Stopwatch.start(watched(sandbox, child))
    running.send(rate, seconds)
    counted = report(running, warm)
    return measurement(scenario, child, rate, seconds, running, counted, stopwatch, max(1, running.sent - warm))


def measurement(
    scenario: str, child: ChildProcess, rate: float, seconds: float, flow: Flow, counted: Message, stopwatch: Stopwatch,
    events: int, more: Message | None = None,
) -> Measurement:  # fmt: skip
    each = list(counted["services"].values())
    worst = max(each, key=lambda service: service["p99_ms"])
    quarters = worst["quarters_p50_ms"]
    level = quarters[-1] <= min(_ON_TIME_MS, quarters[0] + _GROWN_MS)
    lost = max(service["lost"] for service in each)
    return Measurement(
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
