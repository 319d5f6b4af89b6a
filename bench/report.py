"""Measurements as a table, as Markdown, and as JSON."""

import datetime
import importlib.metadata
import json
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench import meters, plot
from bench.goals import goals, most, of
from bench.measuring import Measurement
from bench.plot import Curve
from bench.protocol import Message

DOCS = Path(__file__).resolve().parent.parent / "docs"
_LIBRARIES = ("pika", "websocket-client", "orjson", "aio-pika", "aiohttp")
_COLUMNS = (
    ("system", 12), ("rate/s", 7), ("sent", 9), ("received", 9), ("lost", 5), ("twice", 6), ("disorder", 8),
    ("events/s", 9), ("holds", 5), ("p50 ms", 8), ("p99 ms", 8), ("p99.9 ms", 8), ("CPU µs", 7), ("broker µs", 9),
    ("peak MiB", 8), ("others", 6),
)  # fmt: skip
_SCENARIOS = {
    "rates": "One service, no class queues",
    "limit": "The limit: one service, no class queues",
    "default": "Default settings: the class's common queue and one service's",
    "services": "Ten services on the same topics: ten deliveries per event",
    "spool": "Spooled while the broker is unavailable, then drained while 1,000/s keep arriving",
    "restart": "The broker is restarted under 3,000/s",
}
_QUIET = 0.2  # cores that a bare system, its kernel included, may use meanwhile
_NOTES = {
    "spooled": "events on disk only",
    "in_memory": "events in memory, and on disk",
    "spooling_us": "CPU µs per event while spooling",
    "drained_per_s": "events/s drained",
    "first_after_s": "s from the broker's return to the first event",
    "away_s": "s without a broker",
    "live_again_s": "s from the broker's return until every event comes within 0.5 s",
}


def header() -> str:
    return " ".join(name.rjust(width) for name, width in _COLUMNS)


def line(row: Measurement) -> str:
    text = " ".join(value.rjust(width) for value, (_, width) in zip(_cells(row), _COLUMNS, strict=True))
    return "\n".join([text, *(f"    {note}" for note in _notes(row))])


def hot_path(rows: Sequence[Measurement]) -> list[str]:
    """CPU per event and p99 of the gateway, one line per rate, for comparing two commits on one machine."""
    return [
        f"{row.rate:6,.0f} events/s: {row.cpu_us['ingestor']:6.1f} µs CPU per event, p99 {row.p99_ms:,.1f} ms"
        for row in rows
        if (row.scenario, row.system) == ("rates", "gateway")
    ]


def summary(rows: Sequence[Measurement]) -> list[str]:
    return [f"{'met   ' if goal.met else 'MISSED'}  {goal.what}: {goal.measured}" for goal in goals(rows)]


def surroundings(broker: str, postgres: str) -> dict[str, str]:
    """The machine and the versions."""
    return {
        **meters.machine(),
        "RabbitMQ": broker,
        "PostgreSQL": postgres,
        "Python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _LIBRARIES},
    }


def keep(rows: Sequence[Measurement], where: dict[str, str], other: Sequence[Message], folder: Path = DOCS) -> None:
    """The page, its plot and the raw measurements."""
    drawn = plot.svg("Latency against rate: p50 dashed, p99 solid", _lines(rows))
    (folder / "performance.svg").write_text(drawn)
    (folder / "performance.md").write_text(page(rows, where, other))
    raw = {"surroundings": where, "rows": [row.as_json() for row in rows], "other": list(other)}
    (folder / "performance.json").write_text(json.dumps(raw, indent=1, ensure_ascii=False) + "\n")


def page(rows: Sequence[Measurement], where: dict[str, str], other: Sequence[Message]) -> str:
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    parts = [
        _INTRODUCTION,
        f"Measured on {today}:\n",
        _table(("what", "which"), where.items()),
        *_company(rows),
        "## Goals\n",
        _table(("goal", "measured", "met"), ((g.what, g.measured, "yes" if g.met else "**no**") for g in goals(rows))),
        "## Beside what one would write instead\n",
        _comparison(rows),
        "![latency against rate](performance.svg)\n",
    ]
    for name, title in _SCENARIOS.items():
        found = [row for row in rows if row.scenario == name]
        if found:
            parts += [f"## {title}\n", _table([column for column, _ in _COLUMNS], map(_cells, found))]
            parts += [f"- {note}" for row in found for note in _notes(row)]
            parts.append("")
    for each in other:
        parts += [f"## {each['title']}\n", each["text"].rstrip() + "\n"]
    return "\n".join(parts).rstrip() + "\n"


def _company(rows: Sequence[Measurement]) -> list[str]:
    """A word of warning when we were not alone on the machine."""
    busy = [row.others for row in rows if not row.more]
    if not busy or sum(busy) / len(busy) < _QUIET:
        return []
    mean = sum(busy) / len(busy)
    return [
        f"**The machine was not quiet**: other programs kept {mean:.1f} cores busy on average, up to {max(busy):.1f}.\n"
        "Rates, latencies and the goals below suffer from that. So do ratios, less: each row had company of its own.\n"
        "What was lost, repeated or out of order counts as it is.\n"
    ]


def _cells(row: Measurement) -> list[str]:
    own = row.cpu_us.get("ingestor", row.cpu_us.get(row.system, 0.0))
    broker = row.cpu_us.get("broker")
    return [
        row.system, f"{row.rate:,.0f}", f"{row.sent:,}", f"{row.received:,}", f"{row.lost:,}", f"{row.duplicated:,}",
        f"{row.disordered:,}", f"{row.per_s:,.0f}", "yes" if row.sustained else "no", _ms(row.p50_ms), _ms(row.p99_ms),
        _ms(row.p999_ms), f"{own:.1f}", "" if broker is None else f"{broker:.1f}", f"{row.peak_mib:.0f}",
        "" if row.more else f"{row.others:.1f}",
    ]  # fmt: skip


def _notes(row: Measurement) -> list[str]:
    return [f"{_NOTES[name]}: {_number(value)}" for name, value in row.more.items()]


def _number(value: float | None) -> str:
    return "never" if value is None else f"{value:,}"


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _comparison(rows: Sequence[Measurement]) -> str:
    """Ratios within this run, where the machine cancels out."""
    found = []
    for rate in sorted({row.rate for row in rows if row.scenario == "rates"}):
        gateway, bare = of(rows, "rates", "gateway", rate), of(rows, "rates", "bare", rate)
        if gateway and bare and bare.cpu_us["bare"]:
            cpu = gateway.cpu_us["ingestor"] / bare.cpu_us["bare"]
            found.append((f"CPU per event at {rate:,.0f}/s, gateway : bare bridge", f"{cpu:.2f}"))
            found.append((f"p99 at {rate:,.0f}/s, gateway : bare bridge", f"{gateway.p99_ms / bare.p99_ms:.2f}"))
    best = max(most(rows, scenario, "gateway") for scenario in ("rates", "limit"))
    for name in ("asynchronous", "plain"):
        reached = max((row.per_s for row in rows if row.system == name), default=0.0)
        if reached and best:
            found.append((f"events/s sustained, gateway : {name} bridge at its limit", f"{best / reached:.1f}"))
    return _table(("ratio", "value"), found)


def _lines(rows: Sequence[Measurement]) -> list[Curve]:
    """What did not hold a rate has no latency there: it grows for as long as one looks."""
    lines = []
    for system in ("gateway", "bare", "asynchronous", "plain"):
        held = [r for r in rows if r.scenario in ("rates", "limit") and r.system == system and r.sustained]
        if held:
            lines.append(Curve(f"{system}, p99", [(r.rate, r.p99_ms) for r in held]))
            lines.append(Curve(f"{system}, p50", [(r.rate, r.p50_ms) for r in held], dashed=True))
    return lines


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


_INTRODUCTION = """\
# Performance

`make bench` writes this page. It starts private servers, a sender that plays recorded frames of Bybit's linear endpoint
at an exact rate (trades, tickers, and books of 200 levels, in the recorded proportions; 330 bytes on average), the real
ingestor, the real RabbitMQ, and a consumer in a process of its own. All of them share the cores named below. Messages
are persistent and confirmed; a service's events are in one queue per class, as everywhere.

`python -m bench --quick` takes three minutes and prints CPU per event and p99 of the gateway; `--only NAME` measures
one scenario. Neither changes this page.

- Each frame carries a number and the time of its writing. The consumer counts every number; a topic's numbers rise.
- Latency runs from the writing of a frame to its arrival at the consumer. The consumer parses AMQP itself, because
  pika's consumer needs 28 µs of CPU per delivery where this one needs 4. Prefetch is 1,000, acks go out every 10 ms.
- A rate *holds* when nothing is lost, the sender was never kept waiting, and latency did not grow until the end.
- `twice` counts what came more than once; consumers drop it by its id.
- CPU is user and system time of the process from `/proc`, per event. `others` is how many cores everything else on the
  machine kept busy meanwhile, kernel included: a run with other programs at work measures those as well. Compare
  within one run.
- *bare* is the bridge that does nothing but pass on: read-ahead, pipelined confirms, joined sends, no envelope, no ids,
  no spool. *asynchronous* is aiohttp with aio-pika, *plain* is websocket-client with pika's BlockingConnection; both
  wait for confirms. Their sources are in `bench/bridges/`.
"""
