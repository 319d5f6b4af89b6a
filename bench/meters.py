"""CPU and memory of processes, from /proc."""

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Meter:
    """One process and all of its threads."""

    pid: int

    def cpu_s(self) -> float:
        try:
            text = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return 0.0
        fields = text.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def peak_mib(self) -> float:
        """The most memory since the last `forget_peak`, resident."""
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return round(int(line.split()[1]) / 1024, 1)
        return 0.0

    def forget_peak(self) -> None:
        with contextlib.suppress(OSError):
            Path(f"/proc/{self.pid}/clear_refs").write_text("5")


@dataclass(slots=True)
class Stopwatch:
    """CPU of several processes between `start` and `used_s`."""

    meters: dict[str, Meter]
    _before: dict[str, float]
    _busy_s: float
    _at: float

    @classmethod
    def start(cls, meters: dict[str, Meter]) -> "Stopwatch":
        return cls(meters, {name: meter.cpu_s() for name, meter in meters.items()}, busy_s(), time.monotonic())

    def used_s(self) -> dict[str, float]:
        return {name: meter.cpu_s() - self._before[name] for name, meter in self.meters.items()}

    def others(self) -> float:
        """How many cores everything else kept busy, on average."""
        passed_s = time.monotonic() - self._at
        return round(max(0.0, busy_s() - self._busy_s - sum(self.used_s().values())) / passed_s, 2)


def busy_s() -> float:
    """Of all cores together, what a hypervisor takes included."""
    user, nice, system, _idle, _waiting, *rest = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + sum(rest)) / _TICKS_PER_S


def machine() -> dict[str, str]:
    """The machine of the measurements."""
    model = _first(Path("/proc/cpuinfo"), "model name") or os.uname().machine
    memory_kib = int((_first(Path("/proc/meminfo"), "MemTotal") or "0 kB").split()[0])
    name = _first(Path("/etc/os-release"), "PRETTY_NAME", "=").strip('"')
    return {
        "processor": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory_kib / 2**20:.1f} GiB",
        "system": f"{name}, Linux {os.uname().release.split('-')[0]}",
    }


def _first(path: Path, name: str, between: str = ":") -> str:
    lines: Iterable[str] = path.read_text().splitlines() if path.exists() else ()
    return next((line.partition(between)[2].strip() for line in lines if line.startswith(name)), "")
