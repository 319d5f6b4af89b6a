"""The WSGI application: blueprints, error handlers and services, put together."""

from importlib.metadata import version
from typing import Any

from apiflask import APIFlask
from sqlalchemy import Engine

from api import metrics
from api.http import errors, json_answer, openapi, tracing
from api.http.auth import Authenticator, RequestCounter
from api.http.rate_limit import RateLimiter
from api.routes import balances, docs, health, keys, observed, page, services, subscriptions
from api.services.balances import SYNC_WAIT_S, BalanceSyncs
from api.services.guarded_database import GuardedDatabase
from api.services.long_poll import LongPollSlots
from api.services.notifier import Notifier
from api.services.observation import ObservationCache
from api.services.subscriptions import SubscriptionService
from api.settings import Settings

_ONLY_OUR_ROUTES: dict[str, Any] = {"docs_path": None, "static_folder": None}


def create(
    settings: Settings,
    engine: Engine,
    notifier: Notifier,
    counter: RequestCounter | None = None,
    sync_wait_s: float = SYNC_WAIT_S,
) -> APIFlask:
    """The WSGI application; `counter` is shared by processes that limit rates together."""
    app = APIFlask("api", title="ws-gateway", version=version("ws-gateway"), json_errors=False, **_ONLY_OUR_ROUTES)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    database = GuardedDatabase(engine)
    slots = LongPollSlots()
    service = SubscriptionService(database, notifier, ObservationCache(), settings.caps)
    tracing.register(app, settings.proxies)
    metrics.register(app)
    errors.register(app)
    json_answer.register(app)
    openapi.register(app)
    Authenticator(database, settings.administrator_key, counter or RateLimiter(), settings.rates).register(app)
    app.register_blueprint(subscriptions.routes(service, slots))
    app.register_blueprint(services.routes(service))
    app.register_blueprint(observed.routes(database))
    app.register_blueprint(balances.routes(database, BalanceSyncs(database, notifier, slots, sync_wait_s)))
    app.register_blueprint(keys.routes(database))
    app.register_blueprint(health.routes(database))
    app.register_blueprint(docs.routes())
    app.register_blueprint(page.routes())
    return app
