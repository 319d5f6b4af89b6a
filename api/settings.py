"""What the api is told by its environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from common import settings
from common.settings import Environment


@dataclass(frozen=True, slots=True)
class Settings:
    name: str
    bybit_environment: str
    bind: str
    port: int
    postgres: settings.Postgres
    rabbitmq: settings.RabbitMQ
    administrator_key: str = field(repr=False)
    log_level: str = "INFO"

    @classmethod
    def from_env(cls, values: Mapping[str, str]) -> "Settings":
        """Raises ConfigError naming every variable at fault."""
        env = Environment(values)
        found = cls(
            name=settings.service_name(env),
            bybit_environment=env.one_of("BYBIT_ENVIRONMENT", settings.BYBIT_ENVIRONMENTS, "simulator"),
            bind=settings.bind(env),
            port=env.port("WS_GATEWAY_PORT", 4400),
            postgres=settings.postgres(env),
            rabbitmq=settings.rabbitmq(env),
            administrator_key=env.required_secret("WS_GATEWAY_API_KEY"),
            log_level=settings.log_level(env),
        )
        env.checked()
        return found
