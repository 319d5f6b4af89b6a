"""Prints the description of the api: `python -m api.describe > docs/openapi.json`."""

import sys
from typing import Any

import orjson

from api.app import create
from api.settings import Settings
from common import database
from common.notifications import Notification

_UNUSED = {"POSTGRES_PASSWORD": "-", "RABBITMQ_PASSWORD": "-", "WS_GATEWAY_API_KEY": "-"}


class _NoNotifier:
    def notify(self, notification: Notification) -> None: ...


def description() -> dict[str, Any]:
    """The OpenAPI description; connects to nothing."""
    settings = Settings.from_env(_UNUSED)
    spec: dict[str, Any] = create(settings, database.engine(settings.postgres, "description"), _NoNotifier()).spec
    return spec


def rendered() -> bytes:
    return orjson.dumps(description(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


if __name__ == "__main__":
    sys.stdout.buffer.write(rendered())
