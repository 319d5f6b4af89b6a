"""Processes that are started for a measurement and stopped after it."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.meters import Meter
from bench.protocol import Message
from tests.kit.servers import ROOT

_STOPPED_WITHIN_S = 25.0


class ChildProcess:
    """A Python process of this project, its output in a file."""

    def __init__(self, name: str, arguments: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                env={**inherited, "PYTHONPATH": str(ROOT), **env},
                cwd=folder,  # not the folder of the project, whose .env must not be read
                stdin=subprocess.PIPE,
                stdout=self._output(log.fileno()),
                stderr=log,
            )

    def _output(self, log: int) -> int:
        return log

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def meter(self) -> Meter:
        return Meter(self._process.pid)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that takes too long."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def kill(self) -> None:
        if self.running:
            self._process.kill()
        self.stop()


class ControlledProcess(ChildProcess):
    """A child process that reads commands from stdin and writes replies to stdout, see `bench.protocol`."""

    def __init__(self, name: str, arguments: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
        super().__init__(name, arguments, env, folder)
        self._rest = b""
        self.reply(20)

    def _output(self, _log: int) -> int:
        return subprocess.PIPE

    def send(self, command: Message) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()

    def reply(self, within_s: float) -> Message:
        assert self._process.stdout is not None
        until = time.monotonic() + within_s
        while b"\n" not in self._rest:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise TimeoutError(f"{self.name} does not reply")
            chunk = os.read(self._process.stdout.fileno(), 2**20)
            if not chunk:
                raise RuntimeError(f"{self.name} ended: {self.log()[-2000:]}")
            self._rest += chunk
        line, self._rest = self._rest.split(b"\n", 1)
        return dict(json.loads(line))

    def request(self, command: Message, within_s: float) -> Message:
        self.send(command)
        return self.reply(within_s)
