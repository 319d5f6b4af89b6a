"""What a run prints about the gateway."""

from bench.measuring import Measurement
from bench.report import hot_path


def row(scenario: str, system: str, rate: float, cpu_us: float, p99_ms: float) -> Measurement:
    process = "ingestor" if system == "gateway" else system
    return Measurement(
        scenario=scenario,
        system=system,
        rate=rate,
        seconds=3,
        services=1,
        sent=0,
        received=0,
        lost=0,
        duplicated=0,
        redelivered=0,
        disordered=0,
        per_s=rate,
        sustained=True,
        p50_ms=1.0,
        p99_ms=p99_ms,
        p999_ms=9.0,
        cpu_us={process: cpu_us, "broker": 100.0},
        peak_mib=50.0,
        others=0.1,
    )


def test_the_hot_path_is_cpu_per_event_and_p99_of_the_gateway_at_each_rate():
    rows = [
        row("rates", "gateway", 3_000, 31.25, 1.5),
        row("rates", "bare", 3_000, 20.0, 1.0),
        row("spool", "gateway", 1_000, 50.0, 20_000.0),
        row("rates", "gateway", 10_000, 22.0, 1_234.5),
    ]
    assert hot_path(rows) == [
        " 3,000 events/s:   31.2 µs CPU per event, p99 1.5 ms",
        "10,000 events/s:   22.0 µs CPU per event, p99 1,234.5 ms",
    ]
