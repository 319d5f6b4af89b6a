"""The persister's settings, from its environment."""

from collections.abc import Mapping
from dataclasses import dataclass

from common import settings
from common.settings import Environment


@dataclass(frozen=True, slots=True)
class Settings:
    name: str
    postgres: settings.Postgres
    rabbitmq: settings.RabbitMQ
    bind: str
    metrics_port: int
    months_kept: int  # 0: all
    log_level: str

    @classmethod
    def from_env(cls, values: Mapping[str, str]) -> "Settings":
        """Raises ConfigError naming every invalid variable."""
        env = Environment(values)
        found = cls(
            name=settings.service_name(env),
            postgres=settings.postgres(env),
            rabbitmq=settings.rabbitmq(env),
            bind=settings.bind(env),
            metrics_port=env.port("WS_GATEWAY_METRICS_PORT", 4402),
            months_kept=env.whole("WS_GATEWAY_BALANCE_RETENTION_MONTHS", 0, 0, 1200),
            log_level=settings.log_level(env),
        )
        env.checked()
        return found
