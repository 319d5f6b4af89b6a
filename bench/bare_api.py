"""The least that Flask and SQLAlchemy can do for the same statements: no keys, no checks, no log, no figures."""

from dataclasses import asdict
from typing import Any

from flask import Flask, Response, jsonify, request

from common import database, settings
from common.channels import Request, resolve
from common.settings import Environment, process_environment
from common.tables.subscriptions import Caps, Counted
from common.views import subscription_status

CAPS = Caps(1_000_000, 1_000_000)


def made() -> Flask:
    postgres = settings.postgres(Environment(process_environment()))
    database.limit_waits()
    engine = database.engine(postgres, "bare", pool_size=4, max_overflow=4, autocommit=True)
    app = Flask("bare")

    @app.get("/health/live")
    def live() -> Response:
        return jsonify(status="live")

    @app.get("/api/v1/subscriptions")
    def listed() -> Response:
        limit = int(request.args.get("limit", "100"))
        with engine.connect() as connection:
            page = subscription_status.page(connection, {}, None, limit, 0)
        return jsonify(items=[asdict(view) for view in page.items], total=page.total)

    @app.post("/api/v1/subscriptions")
    def ask() -> tuple[Response, int]:
        given: dict[str, Any] = request.get_json()
        channel = resolve(Request(given["channel_type"], given["symbol"]))
        with engine.connect() as connection:
            found = subscription_status.subscribe(
                connection, channel, given["requesting_service"], None, None, CAPS, Counted(0, 0)
            )
        return jsonify(asdict(found[0]) if found else {}), 201

    return app


app = made()
