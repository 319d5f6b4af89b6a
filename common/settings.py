"""Settings: the environment as typed values, validated once."""

import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from dotenv import dotenv_values

from common.errors import ConfigError

T = TypeVar("T")

BYBIT_ENVIRONMENTS = ("mainnet", "testnet", "demo", "simulator")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_OUR_HEADERS = ("host", "connection", "upgrade", "content-length", "transfer-encoding", "accept-encoding")
_OUR_HEADER_PREFIXES = ("sec-websocket-", "x-bapi-")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def process_environment(dotenv: Path = Path(".env")) -> dict[str, str]:
    """Variables from `.env` in the working directory, overridden by the environment of the process.

    Raises ConfigError when the file cannot be read.
    """
    try:
        from_file = dotenv_values(dotenv) if dotenv.is_file() else {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{dotenv} cannot be read: {error}") from error
    return {name: value for name, value in from_file.items() if value is not None} | dict(os.environ)


class Environment:
    """Reads variables and collects their errors; `checked` raises one ConfigError with all of them."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._faults: list[str] = []

    def text(self, name: str, default: str = "") -> str:
        return self._values.get(name, "").strip() or default

    def one_of(self, name: str, allowed: Collection[str], default: str) -> str:
        value = self.text(name, default)
        if value not in allowed:
            self.refuse(name, value, "one of " + ", ".join(allowed))
        return value

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        value = self.text(name, str(default))
        if not value.isascii() or not value.isdigit() or not least <= int(value) <= most:
            self.refuse(name, value, f"a whole number from {least} to {most}")
            return default
        return int(value)

    def port(self, name: str, default: int) -> int:
        return self.whole(name, default, 1, 65535)

    def parsed(self, name: str, default: str, parse: Callable[[str], T], allowed: str) -> T:
        """The value converted by `parse`, which raises ValueError; `allowed` describes valid values."""
        value = self.text(name, default)
        try:
            return parse(value)
        except ValueError:
            self.refuse(name, value, allowed)
            return parse(default)

    def secret(self, name: str) -> str:
        """The content of the file named by `<name>_FILE`, if set, otherwise the variable itself; may be empty."""
        path = self.text(f"{name}_FILE")
        if not path:
            return self.text(name)
        if self.text(name):
            self.refuse(f"{name}_FILE", path, f"empty while {name} is set")
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            self.refuse(f"{name}_FILE", path, f"a readable file ({type(error).__name__})")
            return ""

    def required_secret(self, name: str) -> str:
        value = self.secret(name)
        if not value and not self.text(f"{name}_FILE"):
            self._faults.append(f"{name} is required; set it or {name}_FILE")
        return value

    def refuse(self, name: str, value: str, allowed: str) -> None:
        self._faults.append(f"{name}={value!r}: must be {allowed}")

    def refuse_secret(self, name: str, requirement: str) -> None:
        """As `refuse`, without the value."""
        self._faults.append(f"{name}: {requirement}")

    def checked(self) -> None:
        if self._faults:
            raise ConfigError("; ".join(self._faults))


@dataclass(frozen=True, slots=True)
class Credentials:
    key: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bybit:
    environment: str
    credentials: Credentials | None
    ws_url: str  # scheme://host:port; empty: the default host of the environment
    rest_url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # name and value; of REST and of handshakes


@dataclass(frozen=True, slots=True)
class Postgres:
    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    sslmode: str
    sslrootcert: str


@dataclass(frozen=True, slots=True)
class RabbitMQ:
    hosts: tuple[tuple[str, int], ...]
    user: str
    password: str = field(repr=False)
    vhost: str
    tls: bool
    ca_file: str
    management_port: int | None = None  # of the management plugin on each host; None: not used


@dataclass(frozen=True, slots=True)
class Retention:
    """Limits of an event queue whose consumer is absent."""

    hours: int
    messages: int


def bybit(env: Environment) -> Bybit:
    return Bybit(
        environment=env.one_of("BYBIT_ENVIRONMENT", BYBIT_ENVIRONMENTS, "simulator"),
        credentials=credentials(env),
        ws_url=_origin(env, "BYBIT_WS_URL", ("ws", "wss")),
        rest_url=_origin(env, "BYBIT_REST_URL", ("http", "https")),
        headers=_headers(env, "BYBIT_HEADERS"),
    )


def credentials(env: Environment) -> Credentials | None:
    """None when both are empty: public data only. One without the other is an error."""
    key, secret = env.secret("BYBIT_API_KEY"), env.secret("BYBIT_API_SECRET")
    if bool(key) != bool(secret):
        missing, given = ("BYBIT_API_SECRET", "BYBIT_API_KEY") if key else ("BYBIT_API_KEY", "BYBIT_API_SECRET")
        env.refuse(missing, "", f"set, because {given} is (or leave both empty for public data only)")
    return Credentials(key, secret) if key and secret else None


def postgres(env: Environment) -> Postgres:
    modes = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
    return Postgres(
        host=env.text("POSTGRES_HOST", "127.0.0.1"),
        port=env.port("POSTGRES_PORT", 4432),
        database=env.text("POSTGRES_DB", "ws_gateway"),
        user=env.text("POSTGRES_USER", "ws_gateway"),
        password=env.required_secret("POSTGRES_PASSWORD"),
        sslmode=env.one_of("POSTGRES_SSLMODE", modes, "prefer"),
        sslrootcert=env.text("POSTGRES_SSLROOTCERT"),
    )


def rabbitmq(env: Environment) -> RabbitMQ:
    port = env.port("RABBITMQ_PORT", 4472)
    return RabbitMQ(
        hosts=env.parsed(
            "RABBITMQ_HOST",
            "127.0.0.1",
            lambda text: tuple(_host_and_port(each, port) for each in text.split(",")),
            "host or host:port, several separated by commas",
        ),
        user=env.text("RABBITMQ_USER", "ws_gateway"),
        password=env.required_secret("RABBITMQ_PASSWORD"),
        vhost=env.text("RABBITMQ_VHOST", "/"),
        tls=flag(env, "RABBITMQ_TLS"),
        ca_file=env.text("RABBITMQ_CA_FILE"),
        management_port=env.port("RABBITMQ_MANAGEMENT_PORT", 0) if env.text("RABBITMQ_MANAGEMENT_PORT") else None,
    )


def retention(env: Environment) -> Retention:
    return Retention(
        hours=env.whole("WS_GATEWAY_RETENTION_HOURS", 24, 1, 24 * 365),
        messages=env.whole("WS_GATEWAY_RETENTION_MESSAGES", 100_000, 1, 100_000_000),
    )


def flag(env: Environment, name: str) -> bool:
    return env.one_of(name, ("true", "false", "1", "0"), "false") in ("true", "1")


def log_level(env: Environment) -> str:
    return env.one_of("WS_GATEWAY_LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO")


def bind(env: Environment) -> str:
    return env.text("WS_GATEWAY_BIND", "127.0.0.1")


def service_name(env: Environment) -> str:
    """The name of this installation, used in logs and connection names."""
    name = env.text("WS_GATEWAY_SERVICE_NAME", "ws-gateway")
    if not _NAME.fullmatch(name):
        env.refuse("WS_GATEWAY_SERVICE_NAME", name, "1 to 63 characters of a-z, 0-9 and -, not starting with -")
    return name


def _headers(env: Environment, name: str) -> tuple[tuple[str, str], ...]:
    """HTTP headers given as `name=value,…`; a value contains no comma. Faults contain no value: it may be a secret."""
    text = env.secret(name)
    found: dict[str, tuple[str, str]] = {}
    for number, entry in enumerate(text.split(",") if text else [], 1):
        header, equals, value = (part.strip() for part in entry.partition("="))
        if not equals or not _HEADER_NAME.fullmatch(header) or not _HEADER_VALUE.fullmatch(value):
            env.refuse_secret(name, f"entry {number} must be name=value, with an HTTP header name and printable ASCII")
        elif header.lower() in _OUR_HEADERS or header.lower().startswith(_OUR_HEADER_PREFIXES):
            env.refuse_secret(name, f"entry {number} names {header}, which the gateway sets itself; remove it")
        elif header.lower() in found:
            env.refuse_secret(name, f"entry {number} names {header} again; each header may be given once")
        found[header.lower()] = (header, value)
    return tuple(found.values())


def _origin(env: Environment, name: str, schemes: tuple[str, ...]) -> str:
    return env.parsed(name, "", lambda text: _checked_origin(text, schemes), f"{' or '.join(schemes)}://host:port")


def _checked_origin(text: str, schemes: tuple[str, ...]) -> str:
    if not text:
        return ""
    parts = urlsplit(text)
    if parts.scheme not in schemes or not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
        raise ValueError(text)
    parts.port  # noqa: B018  # raises ValueError for an invalid port
    return f"{parts.scheme}://{parts.netloc}"


def _host_and_port(text: str, default: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text.strip()}")
    if not parts.hostname or parts.path or parts.username:
        raise ValueError(text)
    return parts.hostname, parts.port or default
