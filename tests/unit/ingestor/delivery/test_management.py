"""The management API while it is unavailable."""

from pathlib import Path

from common.settings import RabbitMQ
from ingestor.delivery.management import Management


def test_a_ca_file_that_is_missing_leaves_everything_unknown(tmp_path: Path):
    rabbitmq = RabbitMQ((("127.0.0.1", 1),), "user", "password", "/", True, str(tmp_path / "missing.pem"), 1)
    management = Management(rabbitmq)
    management.refresh()
    assert management.by_queue == {}
