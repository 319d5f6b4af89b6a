"""Create .env for a new clone: env.example with random secrets."""

import os
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

_EMPTY = re.compile(r"([A-Z][A-Z0-9_]*)=\s*")
_MARK = "# [random]"


def make(root: Path) -> bool:
    """Write .env unless it exists; return whether it was written."""
    path = root / ".env"
    text = rendered((root / "env.example").read_text(encoding="utf-8"), new_secret)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return True


def rendered(example: str, secret: Callable[[], str]) -> str:
    return "".join(_lines(example, secret))


def new_secret() -> str:
    return secrets.token_urlsafe(24)


def _lines(example: str, secret: Callable[[], str]) -> Iterator[str]:
    marked = False
    for line in example.splitlines():
        empty = _EMPTY.fullmatch(line)
        yield (f"{empty[1]}={secret()}" if marked and empty else line) + "\n"
        marked = line.strip() == _MARK
