"""What is measured, and how hard."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.children import Child
from bench.frames import now_us
from bench.measuring import Figures, figures, flow, measured, report
from bench.meters import Stopwatch
from bench.world import Corner, World
from tests.kit.waiting import eventually

_BACK_WITHIN_S = 60.0
_SERVICE_RATE = 1_500  # with ten services: the goal
_AWAY_S = 15.0  # the broker, at a restart
_LIVE_MS = 500.0  # an event that comes so soon is not from a backlog


@dataclass(frozen=True, slots=True)
class Effort:
    """How much of everything; the quick one is a look, the full one a measurement."""

    seconds: float
    rates: tuple[int, ...]
    beyond: tuple[int, ...]  # tried, one after the other, until one is too much
    offered: int  # to the bridges, more than they can take
    service_rates: tuple[int, ...]
    spooled: int
    catching_up_s: float  # for how long events go on arriving after an outage


QUICK = Effort(
    seconds=3, rates=(3_000, 10_000), beyond=(), offered=5_000, service_rates=(1_500,), spooled=20_000, catching_up_s=4
)
FULL = Effort(
    seconds=20,
    rates=(1_000, 3_000, 10_000, 20_000),
    beyond=(5_000, 7_500, 10_000, 12_500, 15_000, 17_500, 20_000, 25_000, 30_000),
    offered=20_000,
    service_rates=(500, 1_000, 1_500, 2_000, 2_500, 3_000, 4_000, 5_000),
    spooled=100_000,
    catching_up_s=25,
)
Scenario = Callable[[World, Effort], Iterator[Figures]]


def rates(world: World, effort: Effort) -> Iterator[Figures]:
    """One service, no class queues: the gateway and the bare bridge in turn, then what others would write."""
    with world.corner() as corner:
        for rate in effort.rates:
            yield once(corner, "gateway", "rates", rate, effort.seconds)
            yield once(corner, "bare", "rates", rate, effort.seconds)
        for name in ("asynchronous", "plain"):
            for rate in (*(rate for rate in effort.rates if rate <= 3_000 and effort.beyond), effort.offered):
                yield once(corner, name, "rates", rate, min(effort.seconds, 10))


def limit(world: World, effort: Effort) -> Iterator[Figures]:
    """One service, no class queues: the most that the gateway sustains, and the bare bridge beside it."""
    with world.corner() as corner:
        for name in ("gateway", "bare"):
            for rate in effort.beyond:
                row = once(corner, name, "limit", rate, effort.seconds / 2)
                yield row
                if not row.sustained:
                    break


def default(world: World, effort: Effort) -> Iterator[Figures]:
    """As it is installed: the class's common queue and one service's, so that each event is stored twice."""
    with world.corner(class_queues="all") as corner:
        for rate in (5_000, 10_000) if effort.beyond else (10_000,):
            yield once(corner, "gateway", "default", rate, effort.seconds)


def services(world: World, effort: Effort) -> Iterator[Figures]:
    """Ten services on the same topics: each event is delivered ten times."""
    with world.corner(services=[f"bench{number}" for number in range(10)]) as corner:
        ingestor = corner.ingestor()
        for rate in effort.service_rates:
            seconds = effort.seconds if rate == _SERVICE_RATE else effort.seconds / 2
            row = measured(corner, ingestor, "services", rate, seconds)
            yield row
            if not row.sustained and rate >= _SERVICE_RATE:
                break


def spool(world: World, effort: Effort) -> Iterator[Figures]:
    """Events pile up on disk while the broker is away; when it is back they drain, and others go on arriving."""
    rate, more_s = 1_000, _AWAY_S + effort.catching_up_s
    with world.corner() as corner:
        ingestor = corner.ingestor()
        running = flow(corner, effort.spooled + round(rate * (more_s + 1)) + 1)
        running.send(rate, 1)
        before = running.sent
        world.rabbitmq.stop()
        ingestor.meter.forget_peak()
        stopwatch = Stopwatch.start({"ingestor": ingestor.meter})
        running.send(10_000, effort.spooled / 10_000)
        spooling_s = stopwatch.used_s()["ingestor"]
        eventually(lambda: corner.lane("spooled") + corner.lane("in_flight") >= effort.spooled, 30, "all is spooled")
        spooled, held = corner.lane("spooled"), corner.lane("in_flight")
        piled = running.sent
        running.begin(rate, more_s)
        stopwatch = Stopwatch.start({"ingestor": ingestor.meter})
        back_us = _started(world, corner)
        running.ended(more_s + 30)
        told = report(running, before, spans=[[before, piled]], after_us=back_us, within_ms=_LIVE_MS)
        [span] = told["spans"]
        drained_s = (span["last_us"] - span["first_us"]) / 1e6
        more = {
            "spooled": spooled,
            "in_memory": held,
            "spooling_us": round(spooling_s * 1e6 / effort.spooled, 1),
            "drained_per_s": round(span["count"] / drained_s) if drained_s else 0,
            "first_after_s": _seconds(back_us, span["first_us"]),
            "live_again_s": _seconds(back_us, told["live_us"]),
        }
        events = running.sent - before
        yield figures("spool", ingestor, rate, more_s, running, told, stopwatch, events, more)


def restart(world: World, effort: Effort) -> Iterator[Figures]:
    """The broker is stopped in good order and started again while events arrive."""
    rate, before_s = 3_000, 4.0
    seconds = before_s + _AWAY_S + effort.catching_up_s
    with world.corner() as corner:
        ingestor = corner.ingestor()
        running = flow(corner, round(rate * seconds) + 1)
        stopwatch = Stopwatch.start({"ingestor": ingestor.meter})
        running.begin(rate, seconds)
        time.sleep(before_s)
        stopped_us = now_us()
        world.rabbitmq.stop()
        back_us = _started(world, corner)
        running.ended(seconds + 30)
        told = report(running, 0, after_us=back_us, within_ms=_LIVE_MS)
        more = {
            "away_s": round((back_us - stopped_us) / 1e6, 2),
            "live_again_s": _seconds(back_us, told["live_us"]),
        }
        yield figures("restart", ingestor, rate, seconds, running, told, stopwatch, max(1, running.sent), more)


ALL: dict[str, Scenario] = {
    "rates": rates,
    "limit": limit,
    "default": default,
    "services": services,
    "spool": spool,
    "restart": restart,
}


def once(corner: Corner, name: str, scenario: str, rate: float, seconds: float) -> Figures:
    """A fresh process of this system, for one measurement."""
    child: Child = corner.ingestor() if name == "gateway" else corner.bridge(name)
    try:
        return measured(corner, child, scenario, rate, seconds)
    finally:
        corner.stop(child)


def _seconds(since_us: int, until_us: int) -> float | None:
    """None when it never came to that."""
    return round((until_us - since_us) / 1e6, 2) if until_us else None


def _started(world: World, corner: Corner) -> int:
    """Start the broker again; when it took connections."""
    world.rabbitmq.begin()

    def answers() -> int:
        corner.broker.connect().close()
        return now_us()

    back_us = eventually(answers, _BACK_WITHIN_S, "the broker is back")
    world.rabbitmq.wait_until_ready()
    return back_us
