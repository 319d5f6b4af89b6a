"""The api is put together here."""

from importlib.metadata import version

from apiflask import APIFlask
from sqlalchemy import Engine

from api import errors, metrics, openapi, tracing
from api.intents import Intents
from api.keys import Doorkeeper
from api.poking import Poker
from api.routes import balances, docs, health, observed, subscriptions
from api.settings import Settings
from api.store import Store


def create(settings: Settings, engine: Engine, poker: Poker) -> APIFlask:
    app = APIFlask("api", title="ws-gateway", version=version("ws-gateway"), docs_path=None, json_errors=False)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.static_folder = None
    store = Store(engine)
    intents = Intents(store, poker)
    tracing.register(app)
    metrics.register(app)
    errors.register(app)
    openapi.register(app)
    Doorkeeper(store, settings.administrator_key).register(app)
    app.register_blueprint(subscriptions.routes(store, intents))
    app.register_blueprint(observed.routes(store))
    app.register_blueprint(balances.routes(store, poker))
    app.register_blueprint(health.routes(store))
    app.register_blueprint(docs.routes())
    return app
