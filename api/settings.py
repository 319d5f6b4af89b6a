"""The settings of the api, read from its environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network

from common import settings
from common.settings import Environment, process_environment
from common.tables.subscriptions import Caps

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Rates:
    """The maximum of requests per second."""

    of_a_key: int
    of_an_address: int


@dataclass(frozen=True, slots=True)
class Settings:
    """`proxies` are trusted to name the address that a request came from."""

    name: str
    bind: str
    port: int
    postgres: settings.Postgres
    rabbitmq: settings.RabbitMQ
    administrator_key: str = field(repr=False)
    log_level: str
    caps: Caps
    rates: Rates
    proxies: tuple[Network, ...]

    @classmethod
    def from_env(cls, values: Mapping[str, str]) -> "Settings":
        """Raises ConfigError naming every variable at fault."""
        env = Environment(values)
        found = cls(
            name=settings.service_name(env),
            bind=settings.bind(env),
            port=env.port("WS_GATEWAY_PORT", 4400),
            postgres=settings.postgres(env),
            rabbitmq=settings.rabbitmq(env),
            administrator_key=env.required_secret("WS_GATEWAY_API_KEY"),
            log_level=settings.log_level(env),
            caps=Caps(
                of_a_service=env.whole("WS_GATEWAY_SUBSCRIPTIONS_PER_SERVICE", 2_000, 1, 1_000_000),
                in_total=env.whole("WS_GATEWAY_SUBSCRIPTIONS_IN_TOTAL", 20_000, 1, 1_000_000),
            ),
            rates=Rates(
                of_a_key=env.whole("WS_GATEWAY_REQUESTS_PER_KEY", 100, 1, 1_000_000),
                of_an_address=env.whole("WS_GATEWAY_REQUESTS_PER_ADDRESS", 300, 1, 1_000_000),
            ),
            proxies=env.parsed("WS_GATEWAY_PROXIES", "", _networks, "addresses or networks, separated by commas"),
        )
        env.checked()
        return found


@cache
def of_process() -> Settings:
    """Read once: gunicorn's workers inherit what its master found in order, so a changed .env cannot keep one from
    starting."""
    return Settings.from_env(process_environment())


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ip_network(each.strip()) for each in text.split(",")) if text else ()
