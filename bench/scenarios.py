"""Scenarios: what is measured, and with how much effort."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.frames import now_us
from bench.measuring import Measurement, flow, measured, measurement, report
from bench.meters import Stopwatch
from bench.processes import ChildProcess
from bench.world import Sandbox, World
from tests.kit.waiting import eventually

_BACK_WITHIN_S = 60.0
_SERVICE_RATE = 1_500  # with ten services: the goal
_AWAY_S = 15.0  # downtime of the broker in a restart
_LIVE_MS = 500.0  # an event this fast does not come from a backlog


@dataclass(frozen=True, slots=True)
class Effort:
    """The extent of a run: QUICK takes three minutes, FULL is for published results."""

    seconds: float
    rates: tuple[int, ...]
    beyond: tuple[int, ...]  # tried in this order until one is not sustained
    offered: int  # to the other bridges, more than they can sustain; 0: not measured
    service_rates: tuple[int, ...]
    spooled: int
    catching_up_s: float  # time that events keep arriving after an outage


QUICK = Effort(
    seconds=3, rates=(3_000, 10_000), beyond=(), offered=0, service_rates=(1_500,), spooled=20_000, catching_up_s=4
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
Scenario = Callable[[World, Effort], Iterator[Measurement]]


def rates(world: World, effort: Effort) -> Iterator[Measurement]:
    """One service, no shared queues: the gateway and the bare bridge in turn, then the other bridges."""
    with world.sandbox() as sandbox:
        for rate in effort.rates:
            yield once(sandbox, "gateway", "rates", rate, effort.seconds)
            yield once(sandbox, "bare", "rates", rate, effort.seconds)
        if not effort.offered:
            return
        for name in ("asynchronous", "plain"):
            for rate in (*(rate for rate in effort.rates if rate <= 3_000), effort.offered):
                yield once(sandbox, name, "rates", rate, min(effort.seconds, 10))


def limit(world: World, effort: Effort) -> Iterator[Measurement]:
    """One service, no shared queues: the highest rate that the gateway and the bare bridge sustain."""
    with world.sandbox() as sandbox:
        for name in ("gateway", "bare"):
            for rate in effort.beyond:
                row = once(sandbox, name, "limit", rate, effort.seconds / 2)
                yield row
                if not row.sustained:
                    break


def default(world: World, effort: Effort) -> Iterator[Measurement]:
    """Default settings: a shared queue and one of a service, so that each event is stored twice."""
    with world.sandbox(class_queues="all") as sandbox:
        for rate in (5_000, 10_000) if effort.beyond else (10_000,):
            yield once(sandbox, "gateway", "default", rate, effort.seconds)


def services(world: World, effort: Effort) -> Iterator[Measurement]:
    """Ten services on the same topics: each event is delivered ten times."""
    with world.sandbox(services=[f"bench{number}" for number in range(10)]) as sandbox:
        ingestor = sandbox.ingestor()
        for rate in effort.service_rates:
            seconds = effort.seconds if rate == _SERVICE_RATE else effort.seconds / 2
            row = measured(sandbox, ingestor, "services", rate, seconds)
            yield row
            if not row.sustained and rate >= _SERVICE_RATE:
                break


def spool(world: World, effort: Effort) -> Iterator[Measurement]:
    """Events are spooled while the broker is unavailable, then drained while others keep arriving."""
    rate, more_s = 1_000, _AWAY_S + effort.catching_up_s
    with world.sandbox() as sandbox:
        ingestor = sandbox.ingestor()
        running = flow(sandbox, effort.spooled + round(rate * (more_s + 1)) + 1)
        running.send(rate, 1)
        before = running.sent
        world.rabbitmq.stop()
        ingestor.meter.forget_peak()
        stopwatch = Stopwatch.start({"ingestor": ingestor.meter})
        running.send(10_000, effort.spooled / 10_000)
        spooling_s = stopwatch.used_s()["ingestor"]
        eventually(lambda: sandbox.lane("spooled") + sandbox.lane("in_flight") >= effort.spooled, 30, "all is spooled")
        spooled, in_memory = sandbox.lane("spooled"), sandbox.lane("in_flight")
        piled = running.sent
        running.begin(rate, more_s)
        stopwatch = Stopwatch.start({"ingestor": ingestor.meter})
        back_us = _started(world, sandbox)
        running.ended(more_s + 30)
        counted = report(running, before, spans=[[before, piled]], after_us=back_us, within_ms=_LIVE_MS)
        [span] = counted["spans"]
        drained_s = (span["last_us"] - span["first_us"]) / 1e6
        more = {
            "spooled": spooled,
            "in_memory": in_memory,
            "spooling_us": round(spooling_s * 1e6 / effort.spooled, 1),
            "drained_per_s": round(span["count"] / drained_s) if drained_s else 0,
            "first_after_s": _seconds(back_us, span["first_us"]),
            "live_again_s": _seconds(back_us, counted["live_us"]),
        }
        events = running.sent - before
        yield measurement("spool", ingestor, rate, more_s, running, counted, stopwatch, events, more)


def restart(world: World, effort: Effort) -> Iterator[Measurement]:
    """The broker is restarted regularly while events arrive."""
    rate, before_s = 3_000, 4.0
    seconds = before_s + _AWAY_S + effort.catching_up_s
    with world.sandbox() as sandbox:
        ingestor = sandbox.ingestor()
        running = flow(sandbox, round(rate * seconds) + 1)
        stopwatch = Stopwatch.start({"ingestor": ingestor.meter})
        running.begin(rate, seconds)
        time.sleep(before_s)
        stopped_us = now_us()
        world.rabbitmq.stop()
        back_us = _started(world, sandbox)
        running.ended(seconds + 30)
        counted = report(running, 0, after_us=back_us, within_ms=_LIVE_MS)
        more = {
            "away_s": round((back_us - stopped_us) / 1e6, 2),
            "live_again_s": _seconds(back_us, counted["live_us"]),
        }
        yield measurement("restart", ingestor, rate, seconds, running, counted, stopwatch, max(1, running.sent), more)


ALL: dict[str, Scenario] = {
    "rates": rates,
    "limit": limit,
    "default": default,
    "services": services,
    "spool": spool,
    "restart": restart,
}


def once(sandbox: Sandbox, name: str, scenario: str, rate: float, seconds: float) -> Measurement:
    """Start a process of this system for one measurement."""
    child: ChildProcess = sandbox.ingestor() if name == "gateway" else sandbox.bridge(name)
    try:
        return measured(sandbox, child, scenario, rate, seconds)
    finally:
        sandbox.stop(child)


def _seconds(since_us: int, until_us: int) -> float | None:
    """None when it did not happen."""
    return round((until_us - since_us) / 1e6, 2) if until_us else None


def _started(world: World, sandbox: Sandbox) -> int:
    """Start the broker and return when it accepted a connection, in microseconds."""
    world.rabbitmq.begin()

    def answers() -> int:
        sandbox.broker.connect().close()
        return now_us()

    back_us = eventually(answers, _BACK_WITHIN_S, "the broker is back")
    world.rabbitmq.wait_until_ready()
    return back_us
