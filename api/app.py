"""The api is put together here."""

from importlib.metadata import version

from apiflask import APIFlask
from sqlalchemy import Engine

from api import errors, tracing
from api.intents import Intents
from api.keys import Doorkeeper
from api.poking import Poker
from api.routes import subscriptions
from api.settings import Settings
from api.store import Store


def create(settings: Settings, engine: Engine, poker: Poker) -> APIFlask:
    app = APIFlask("api", title="ws-gateway", version=version("ws-gateway"), json_errors=False)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    store = Store(engine)
    intents = Intents(store, poker)
    tracing.register(app)
    errors.register(app)
    Doorkeeper(store, settings.administrator_key).register(app)
    app.register_blueprint(subscriptions.routes(store, intents))
    return app
