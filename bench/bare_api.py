"""A minimal API on Flask and SQLAlchemy with the same statements: no keys, no checks, no log, no metrics."""

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
            rows, total = subscription_status.page(connection, {}, None, limit, 0)
        return jsonify(items=[dict(row._mapping) for row in rows], total=total)

    @app.post("/api/v1/subscriptions")
    def subscribe() -> tuple[Response, int]:
        given: dict[str, Any] = request.get_json()
        channel = resolve(Request(given["channel_type"], given["symbol"]))
        with engine.connect() as connection:
            row = subscription_status.ask(
                connection, channel, given["requesting_service"], None, None, CAPS, Counted(0, 0)
            )
        return jsonify(dict(row._mapping) if row else {}), 201

    return app


app = made()
