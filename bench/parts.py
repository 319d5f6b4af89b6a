"""Measurements that are programs of their own, with servers of their own."""

import importlib.util
import subprocess
import sys
from dataclasses import dataclass

from bench.orders import Message
from tests.kit.servers import ROOT

_WITHIN_S = 1800.0


@dataclass(frozen=True, slots=True)
class Part:
    title: str
    module: str
    arguments: tuple[str, ...]
    quick: tuple[str, ...]

    @property
    def there(self) -> bool:
        return importlib.util.find_spec(self.module) is not None

    def run(self, quick: bool) -> Message:
        """Print what it prints, and give it back."""
        command = [sys.executable, "-m", self.module, *(self.quick if quick else self.arguments)]
        text = ""
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            for line in running.stdout:
                print(line, end="", flush=True)
                text += line
            status = running.wait(_WITHIN_S)
        return {"title": self.title, "status": status, "text": f"```\n{text}```"}


PARTS = {
    "api": Part("The API", "bench.api", (), ("--seconds", "2")),
    "balances": Part("Balances", "bench.balances", (), ("--rows", "100000")),
}
