"""The protocol of the processes of the bench: JSON commands on stdin, JSON replies on stdout, one per line."""

import json
import os
import sys
from typing import Any

Message = dict[str, Any]


class Commands:
    """Reads commands without blocking the process; `ended` once stdin is closed."""

    def __init__(self) -> None:
        self._rest = b""
        self.ended = False

    def fileno(self) -> int:
        return sys.stdin.fileno()

    def read(self) -> list[Message]:
        """The commands that have arrived; call it when stdin is readable."""
        chunk = os.read(self.fileno(), 65536)
        self.ended = not chunk
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines]


def reply(message: Message) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
