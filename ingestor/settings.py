"""The ingestor's settings, read from the environment once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from common import settings, topology
from common.channels import CHANNEL_TYPES
from common.settings import Bybit, Environment, Postgres, RabbitMQ, Retention


@dataclass(frozen=True, slots=True)
class Settings:
    bybit: Bybit
    postgres: Postgres
    rabbitmq: RabbitMQ
    retention: Retention
    market_queue_type: str
    class_queues: tuple[str, ...]
    publish_window: int  # messages without a confirm
    spool_dir: Path
    market_spool_bytes: int
    socket_age_s: float
    bind: str
    metrics_port: int
    log_level: str
    service_name: str

    @classmethod
    def from_env(cls, values: Mapping[str, str]) -> "Settings":
        """Raises ConfigError naming every variable that is wrong."""
        env = Environment(values)
        found = cls(
            bybit=settings.bybit(env),
            postgres=settings.postgres(env),
            rabbitmq=settings.rabbitmq(env),
            retention=settings.retention(env),
            market_queue_type=env.one_of("WS_GATEWAY_MARKET_QUEUE_TYPE", ("classic", "quorum"), "classic"),
            class_queues=env.parsed(
                "WS_GATEWAY_CLASS_QUEUES",
                "all",
                topology.classes,
                "all, none, or classes separated by commas: " + ", ".join(CHANNEL_TYPES),
            ),
            publish_window=env.whole("WS_GATEWAY_PUBLISH_WINDOW", 2_000, 1, 65_535),
            spool_dir=Path(env.text("WS_GATEWAY_SPOOL_DIR", ".run/spool")),
            market_spool_bytes=2**20 * env.whole("WS_GATEWAY_SPOOL_MIB", 1024, 1, 2**20),
            socket_age_s=3600.0 * env.whole("WS_GATEWAY_SOCKET_AGE_HOURS", 12, 1, 24 * 30),
            bind=settings.bind(env),
            metrics_port=env.port("WS_GATEWAY_METRICS_PORT", 4401),
            log_level=settings.log_level(env),
            service_name=settings.service_name(env),
        )
        env.checked()
        return found
