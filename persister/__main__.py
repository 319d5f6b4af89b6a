"""The persister: which objects exist, with which settings (`python -m persister`)."""

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial

from common import amqp, database, entrypoint, logs
from common.lifecycle import run_until_stopped
from common.metrics import MetricsServer
from common.settings import process_environment
from persister.consumer import BalanceConsumer
from persister.ledger import Ledger
from persister.maintenance import PartitionMaintenance
from persister.settings import Settings

_GRACE_S = 4.0  # enough for a write to end
_HEARTBEAT_S = 2  # RabbitMQ drops a frozen persister after two to three of these, and the next one takes over


def main(env: Mapping[str, str]) -> int:
    settings = Settings.from_env(env)
    logs.configure("persister", settings.log_level)
    logging.getLogger("pika").setLevel(logging.CRITICAL + 1)  # logs errors for frames that arrive while we disconnect
    name = f"{settings.name} persister"
    database.limit_waits()
    engine = database.engine(settings.postgres, name)
    metrics = MetricsServer(settings.bind, settings.metrics_port)
    connect = partial(amqp.connect, settings.rabbitmq, name, _HEARTBEAT_S)
    consumer = BalanceConsumer(connect, Ledger(engine))
    maintenance = PartitionMaintenance(engine, settings.months_kept, partial(datetime.now, UTC))
    return run_until_stopped([metrics, maintenance, consumer], _GRACE_S)


if __name__ == "__main__":
    sys.exit(entrypoint.run("persister", lambda: main(process_environment())))
