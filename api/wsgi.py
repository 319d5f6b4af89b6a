"""What gunicorn serves: `gunicorn -c deploy/gunicorn.conf.py api.wsgi:app`."""

import os
import signal
import threading
from functools import partial

import structlog

from api.app import create
from api.http.rate_limit import COUNTS
from api.services.notifier import BrokerNotifier
from api.settings import of_process
from common import amqp, database, entrypoint, logs

log = structlog.get_logger(__name__)


def _notifying(notifier: BrokerNotifier) -> None:
    try:
        notifier.run(threading.Event())
    except BaseException:
        log.critical("worker died", worker=notifier.name, exc_info=True)
        os.kill(os.getpid(), signal.SIGTERM)  # finish what is being answered; gunicorn starts a fresh process


settings = entrypoint.run("api", of_process)
logs.configure("api", settings.log_level)
database.limit_waits()
engine = database.engine(
    settings.postgres,
    f"{settings.name} api",
    pool_size=3,  # more would only take the processors from those who carry events
    max_overflow=0,
    autocommit=True,
    checkout_within_s=2.0,
)
notifier = BrokerNotifier(partial(amqp.connect, settings.rabbitmq, f"{settings.name} api"))
threading.Thread(target=_notifying, args=(notifier,), name=notifier.name, daemon=True).start()
app = create(settings, engine, notifier, COUNTS)
