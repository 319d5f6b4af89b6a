"""The application that gunicorn serves: `gunicorn -c deploy/gunicorn.conf.py api.wsgi:app`."""

import os
import signal
import threading
from functools import partial

import structlog

from api.app import create
from api.http.rate_limit import SHARED
from api.services.notifier import BrokerNotifier
from api.settings import of_process
from common import amqp, database, entrypoint, logs

log = structlog.get_logger(__name__)


def _run_notifier(notifier: BrokerNotifier) -> None:
    try:
        notifier.run(threading.Event())
    except BaseException:
        log.critical("worker failed", worker=notifier.name, exc_info=True)
        os.kill(os.getpid(), signal.SIGTERM)  # requests in progress are answered; gunicorn starts a new process


settings = entrypoint.run("api", of_process)
logs.configure("api", settings.log_level)
database.limit_waits()
engine = database.engine(
    settings.postgres,
    f"{settings.name} api",
    pool_size=3,  # more would only take processors from the ingestor
    max_overflow=0,
    autocommit=True,
    checkout_within_s=2.0,
)
notifier = BrokerNotifier(partial(amqp.connect, settings.rabbitmq, f"{settings.name} api"))
threading.Thread(target=_run_notifier, args=(notifier,), name=notifier.name, daemon=True).start()
app = create(settings, engine, notifier, SHARED)
