"""The command `ws-gateway` is put together here."""
# ruff: noqa: T201  (a command speaks to people)

import argparse
import sys
from collections.abc import Mapping, Sequence

from cli import dead
from common import entrypoint, settings
from common.errors import Unavailable

_FAILED = 1


def main(argv: Sequence[str] | None = None, env: Mapping[str, str] | None = None) -> int:
    """Settings come from `env`, or from this process's environment and the .env file."""
    asked = _arguments(argv)
    try:
        found = settings.process_environment() if env is None else env
        status: int = entrypoint.run("ws-gateway", lambda: asked.act(asked, found))
        return status
    except Unavailable as error:
        print(f"ws-gateway: {error}", file=sys.stderr)
        return _FAILED


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ws-gateway", description="Looks after a gateway that runs.")
    words = parser.add_subparsers(required=True, metavar="command")
    dead.describe(words.add_parser("dead", help="messages that were refused: read them, send them back"))
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
