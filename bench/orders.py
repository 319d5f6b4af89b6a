"""What the bench's own processes are told on stdin, and answer on stdout: one JSON object per line."""

import json
import os
import sys
from typing import Any

Message = dict[str, Any]


class Orders:
    """Lines that arrive while the process does something else."""

    def __init__(self) -> None:
        self._rest = b""
        self.ended = False

    def fileno(self) -> int:
        return sys.stdin.fileno()

    def read(self) -> list[Message]:
        """What has arrived; call it when stdin is readable."""
        chunk = os.read(self.fileno(), 65536)
        self.ended = not chunk
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines]


def answer(message: Message) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
