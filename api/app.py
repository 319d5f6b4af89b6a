"""The api is put together here."""

from importlib.metadata import version
from typing import Any

from apiflask import APIFlask
from sqlalchemy import Engine

from api import metrics
from api.http import errors, openapi, tracing
from api.http.auth import Counter, Doorkeeper
from api.http.rate_limit import Counts
from api.routes import balances, docs, health, keys, observed, page, services, subscriptions
from api.services.diagnosis import Watch
from api.services.long_poll import LongPollSlots
from api.services.notifier import Notifier
from api.services.store import Store
from api.services.subscriptions import SubscriptionService
from api.settings import Settings

_BARE: dict[str, Any] = {"docs_path": None, "static_folder": None}  # no routes but ours


def create(settings: Settings, engine: Engine, notifier: Notifier, counter: Counter | None = None) -> APIFlask:
    app = APIFlask("api", title="ws-gateway", version=version("ws-gateway"), json_errors=False, **_BARE)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    store, watch, room = Store(engine), Watch(), LongPollSlots()
    intents = SubscriptionService(store, notifier, watch, settings.caps)
    tracing.register(app, settings.proxies)
    metrics.register(app)
    errors.register(app)
    openapi.register(app)
    Doorkeeper(store, settings.administrator_key, counter or Counts(), settings.rates).register(app)
    app.register_blueprint(subscriptions.routes(store, intents, watch, room))
    app.register_blueprint(services.routes(intents))
    app.register_blueprint(observed.routes(store))
    app.register_blueprint(balances.routes(store, notifier, room))
    app.register_blueprint(keys.routes(store))
    app.register_blueprint(health.routes(store))
    app.register_blueprint(docs.routes())
    app.register_blueprint(page.routes())
    return app
