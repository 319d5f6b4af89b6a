"""Suites: measurements that are programs of their own, with servers of their own."""

import importlib.util
import subprocess
import sys
from dataclasses import dataclass

from bench.protocol import Message
from tests.kit.servers import ROOT

_TIMEOUT_S = 1800.0


@dataclass(frozen=True, slots=True)
class Suite:
    title: str
    module: str
    arguments: tuple[str, ...]
    quick: tuple[str, ...]

    @property
    def available(self) -> bool:
        return importlib.util.find_spec(self.module) is not None

    def run(self, quick: bool) -> Message:
        """Run the program, print its output, and return it as Markdown."""
        command = [sys.executable, "-m", self.module, *(self.quick if quick else self.arguments)]
        text = ""
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            for line in running.stdout:
                print(line, end="", flush=True)
                text += line
            status = running.wait(_TIMEOUT_S)
        return {"title": self.title, "status": status, "text": f"```\n{text}```"}


SUITES = {
    "api": Suite("The API", "bench.api", (), ("--seconds", "2")),
    "balances": Suite("Balances", "bench.balances", (), ("--rows", "100000")),
}
