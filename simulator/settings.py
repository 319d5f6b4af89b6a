"""Settings of the simulator, read once from arguments and environment."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

DEFAULT_KEY = "simulator-key"
DEFAULT_SECRET = "simulator-secret"  # noqa: S105 - a stand-in's secret is printed in its manual
LATENCY_S = 0.03
CONFIG = 78  # EX_CONFIG of sysexits.h: a restart with the same settings cannot help
SUPERVISED_FOR_S = 3.0


@dataclass(frozen=True, slots=True)
class Settings:
    host: str
    port: int
    recording: Path | None
    exact: bool
    speed: float
    latency_s: float
    fill_every_s: float
    seed: int
    key: str
    secret: str

    @classmethod
    def read(cls, arguments: Sequence[str], env: Mapping[str, str]) -> "Settings":
        """Arguments override the environment; the secret is read from the environment only."""
        given = _parser(env).parse_args(arguments)
        latency_s = given.latency if given.latency is not None else (0.0 if given.exact else LATENCY_S)
        return cls(
            host=given.host,
            port=given.port,
            recording=given.recording,
            exact=given.exact,
            speed=given.speed,
            latency_s=latency_s,
            fill_every_s=given.fill_every,
            seed=given.seed,
            key=given.key,
            secret=env.get("SIMULATOR_SECRET") or DEFAULT_SECRET,
        )


def _parser(env: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m simulator",
        description="A stand-in for Bybit V5. The API secret is read from SIMULATOR_SECRET.",
    )
    add = parser.add_argument
    add("--host", default=env.get("SIMULATOR_HOST") or "127.0.0.1", help="address to listen on")
    add("--port", type=_port, default=env.get("SIMULATOR_PORT") or "4480", help="port to listen on")
    add("--recording", type=_file, help="play this recording (.jsonl or .jsonl.gz) instead of the shipped one")
    add("--exact", action="store_true", help="play the recording byte for byte, once per connection")
    add("--speed", type=_positive, default=1.0, help="how many seconds pass per second")
    add("--latency", type=_not_negative, help=f"seconds a request takes ({LATENCY_S}; exact mode: 0)")
    add("--fill-every", type=_positive, default=2.0, help="seconds between two fills of the account")
    add("--seed", type=int, default=1, help="seed of everything made up")
    add("--key", default=env.get("SIMULATOR_KEY") or DEFAULT_KEY, help="the account's API key")
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(CONFIG, f"{self.prog}: {message}\n")


def _port(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid port: allowed is 1 to 65535")
    return number


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"file {text!r} does not exist")
    return path


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def _not_negative(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return number
