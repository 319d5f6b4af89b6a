"""Prints the description of the api: `python -m api.describe > docs/openapi.json`."""

import sys
from typing import Any

import orjson

from api.app import create
from api.settings import Settings
from common import database
from common.notifications import Notification

_NOBODY = {"POSTGRES_PASSWORD": "-", "RABBITMQ_PASSWORD": "-", "WS_GATEWAY_API_KEY": "-"}


class _Deaf:
    def notify(self, notification: Notification) -> None: ...


def description() -> dict[str, Any]:
    """Needs no neighbours."""
    settings = Settings.from_env(_NOBODY)
    spec: dict[str, Any] = create(settings, database.engine(settings.postgres, "description"), _Deaf()).spec
    return spec


def written() -> bytes:
    return orjson.dumps(description(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


if __name__ == "__main__":
    sys.stdout.buffer.write(written())
