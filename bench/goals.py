"""Goals that measurements are compared with."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.measuring import Measurement

_CPU_RATIO = 1.4


@dataclass(frozen=True, slots=True)
class Goal:
    what: str
    measured: str
    met: bool


def goals(rows: Sequence[Measurement]) -> list[Goal]:
    """The goals that these rows cover."""
    found = _rate_goals(rows)
    for row in rows:
        if row.scenario == "default" and row.rate == 10_000:
            found.append(_sustained("default settings: 10,000 events/s", row))
        if row.scenario == "services" and row.rate == 1_500:
            found.append(_sustained("ten services: 1,500 events/s, 15,000 deliveries/s", row))
            found.append(_below("ten services: p99 ≤ 50 ms", row.p99_ms, 50, "ms"))
        if row.scenario == "spool":
            drained = row.more["drained_per_s"]
            found.append(Goal("spool drains at ≥ 10,000/s", f"{drained:,}/s", drained >= 10_000))
        if row.scenario == "restart":
            whole = not row.lost and not row.disordered
            found.append(Goal("broker restart: nothing lost, order kept", _losses(row), whole))
            live_s = row.more["live_again_s"]
            text = "not within the measurement" if live_s is None else f"{live_s:.1f} s"
            soon = live_s is not None and live_s <= 10
            found.append(Goal("broker restart: live again ≤ 10 s after it is back", text, soon))
    return found


def of(rows: Sequence[Measurement], scenario: str, system: str, rate: float) -> Measurement | None:
    return next((r for r in rows if (r.scenario, r.system, r.rate) == (scenario, system, rate)), None)


def most(rows: Sequence[Measurement], scenario: str, system: str) -> float:
    """The highest rate that was sustained."""
    return max((r.rate for r in rows if (r.scenario, r.system, r.sustained) == (scenario, system, True)), default=0)


def _rate_goals(rows: Sequence[Measurement]) -> list[Goal]:
    found = []
    for rate, p99_ms, cpu_us in ((3_000, 2, 60), (10_000, 8, 25)):
        row, bare = of(rows, "rates", "gateway", rate), of(rows, "rates", "bare", rate)
        if row is not None:
            found.append(_below(f"p99 ≤ {p99_ms} ms at {rate:,}/s", row.p99_ms, p99_ms, "ms"))
        if row is not None and bare is not None:
            used, ratio = row.cpu_us["ingestor"], row.cpu_us["ingestor"] / max(0.1, bare.cpu_us["bare"])
            found.append(
                Goal(
                    f"ingestor ≤ {cpu_us} µs per event at {rate:,}/s, or ≤ {_CPU_RATIO} of the bare bridge's",
                    f"{used:g} µs, {ratio:.2f} of the bare bridge's",
                    used <= cpu_us or ratio <= _CPU_RATIO,
                )
            )
    if row := of(rows, "rates", "gateway", 20_000):
        found.append(_sustained("20,000 events/s", row))
    peak = max((row.peak_mib for row in rows if row.system == "gateway"), default=0.0)
    if any(row.scenario == "spool" for row in rows):
        found.append(_below("peak memory ≤ 150 MB, the window full", peak * 2**20 / 1e6, 150, "MB"))
    return found


def _sustained(what: str, row: Measurement) -> Goal:
    return Goal(what, f"{row.per_s:,.0f}/s, p99 {row.p99_ms:g} ms", row.sustained)


def _below(what: str, value: float, most: float, unit: str) -> Goal:
    return Goal(what, f"{value:,.1f} {unit}", 0 < value <= most)


def _losses(row: Measurement) -> str:
    return f"{row.lost} lost, {row.disordered} out of order of {row.sent:,}"
