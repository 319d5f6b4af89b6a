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
from common.server_url import HOSTS, HostAndPort, ServerUrl, format_hosts, parse_hosts, parse_url

T = TypeVar("T")

BYBIT_ENVIRONMENTS = ("mainnet", "testnet", "demo", "simulator")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_OUR_HEADERS = ("host", "connection", "upgrade", "content-length", "transfer-encoding", "accept-encoding")
_OUR_HEADER_PREFIXES = ("sec-websocket-", "x-bapi-")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SAME = {"1": "true", "0": "false"}
POSTGRES_SCHEMES = {"postgresql": 5432, "postgres": 5432, "postgresql+psycopg2": 5432}
RABBITMQ_SCHEMES = {"amqp": 5672, "amqps": 5671}
"""Default ports by scheme (rabbitmq.com/docs/uri-spec; postgresql.org/docs/current/libpq-connect.html)."""


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
            self.reject(f"{name} is required; set it or {name}_FILE")
        return value

    def server_url(self, name: str, schemes: Mapping[str, int]) -> ServerUrl | None:
        """The URL or the content of its file; None when it is not set. No error shows it: it contains a password."""
        text = self.secret(name)
        try:
            return parse_url(text, schemes) if text else None
        except ValueError as error:
            self.reject(f"{name} has the form {next(iter(schemes))}://user:password@host:port/name, and {error}")
            return None

    def with_url(self, name: str, parts: Mapping[str, str]) -> "Environment":
        """The same variables with the parts of the URL `name`; another value in a variable is an error."""
        if others := [variable for variable, value in parts.items() if self._given(variable) not in ("", value)]:
            self.reject(f"{name} contradicts {', '.join(others)}; remove the URL, or the variables that differ from it")
        files = {f"{variable}_FILE": "" for variable in parts if variable.endswith("PASSWORD")}
        joined = Environment({**self._values, **files, **parts})
        joined._faults = self._faults
        return joined

    def _given(self, variable: str) -> str:
        """The value in the form of the parts of a URL."""
        text = self.secret(variable) if variable.endswith("PASSWORD") else self.text(variable).replace(", ", ",")
        return _SAME.get(text, text) if variable.endswith("TLS") else text

    def refuse(self, name: str, value: str, allowed: str) -> None:
        self.reject(f"{name}={value!r}: must be {allowed}")

    def refuse_secret(self, name: str, requirement: str) -> None:
        """As `refuse`, without the value."""
        self.reject(f"{name}: {requirement}")

    def reject(self, fault: str) -> None:
        """`fault` names the variable and the remedy, and shows no secret."""
        self._faults.append(fault)

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
    hosts: tuple[HostAndPort, ...]
    database: str
    user: str
    password: str = field(repr=False)
    sslmode: str
    sslrootcert: str
    sslcert: str = ""  # of this client, with its key; empty: none is presented
    sslkey: str = ""


@dataclass(frozen=True, slots=True)
class RabbitMQ:
    hosts: tuple[HostAndPort, ...]
    user: str
    password: str = field(repr=False)
    vhost: str
    tls: bool
    ca_file: str
    management_port: int | None = None  # of the management plugin on each host; None: not used
    cert_file: str = ""  # of this client, with its key; empty: none is presented
    key_file: str = ""


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
    """From DATABASE_URL and the single variables, which must not contradict each other."""
    if url := env.server_url("DATABASE_URL", POSTGRES_SCHEMES):
        env = env.with_url("DATABASE_URL", _postgres_parts(env, url))
    port = env.port("POSTGRES_PORT", 4432)
    root = env.text("POSTGRES_SSLROOTCERT")
    certificate, key = _certificate(env, "POSTGRES_SSLCERT", "POSTGRES_SSLKEY")
    found = Postgres(
        hosts=env.parsed("POSTGRES_HOST", "127.0.0.1", lambda text: _postgres_hosts(text, port), HOSTS),
        database=env.text("POSTGRES_DB", "ws_gateway"),
        user=env.text("POSTGRES_USER", "ws_gateway"),
        password=env.secret("POSTGRES_PASSWORD") if certificate else env.required_secret("POSTGRES_PASSWORD"),
        sslmode=env.one_of("POSTGRES_SSLMODE", _SSL_MODES, "verify-full" if root else "prefer"),
        sslrootcert=root,
        sslcert=certificate,
        sslkey=key,
    )
    if found.sslmode == "disable" and (root or certificate):
        env.reject("POSTGRES_SSLMODE=disable uses no certificates; set it to verify-full, or remove them")
    return found


def rabbitmq(env: Environment) -> RabbitMQ:
    """From RABBITMQ_URL and the single variables, which must not contradict each other."""
    if url := env.server_url("RABBITMQ_URL", RABBITMQ_SCHEMES):
        env = env.with_url("RABBITMQ_URL", _rabbitmq_parts(env, url))
    tls = flag(env, "RABBITMQ_TLS")
    port = env.port("RABBITMQ_PORT", 5671 if tls else 4472)
    certificate, key = _certificate(env, "RABBITMQ_CERT_FILE", "RABBITMQ_KEY_FILE")
    found = RabbitMQ(
        hosts=env.parsed("RABBITMQ_HOST", "127.0.0.1", lambda text: parse_hosts(text, port), HOSTS),
        user=env.text("RABBITMQ_USER", "ws_gateway"),
        password=env.required_secret("RABBITMQ_PASSWORD"),
        vhost=env.text("RABBITMQ_VHOST", "/"),
        tls=tls,
        ca_file=env.text("RABBITMQ_CA_FILE"),
        management_port=env.port("RABBITMQ_MANAGEMENT_PORT", 0) if env.text("RABBITMQ_MANAGEMENT_PORT") else None,
        cert_file=certificate,
        key_file=key,
    )
    for name in ("RABBITMQ_CA_FILE", "RABBITMQ_CERT_FILE"):
        if env.text(name) and not tls:
            env.reject(f"{name} is used with TLS only; set RABBITMQ_TLS=true, or remove it")
    return found


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


def _postgres_hosts(text: str, port: int) -> tuple[HostAndPort, ...]:
    """A path is the folder of the server's socket (libpq-connect, host)."""
    return ((text, port),) if text.startswith("/") else parse_hosts(text, port)


def _postgres_parts(env: Environment, url: ServerUrl) -> dict[str, str]:
    options = {name: f"POSTGRES_{name.upper()}" for name in ("sslmode", "sslrootcert", "sslcert", "sslkey")}
    return _parts(env, "DATABASE_URL", url, options) | _named("POSTGRES", url, "DB")


def _rabbitmq_parts(env: Environment, url: ServerUrl) -> dict[str, str]:
    options = {"cacertfile": "RABBITMQ_CA_FILE", "certfile": "RABBITMQ_CERT_FILE", "keyfile": "RABBITMQ_KEY_FILE"}
    tls = {"RABBITMQ_TLS": "true" if url.scheme == "amqps" else "false"}
    return _parts(env, "RABBITMQ_URL", url, options) | _named("RABBITMQ", url, "VHOST") | tls


def _parts(env: Environment, name: str, url: ServerUrl, options: Mapping[str, str]) -> dict[str, str]:
    if unknown := sorted(set(url.options) - set(options)):
        env.reject(f"{name} has the parameters {', '.join(unknown)}: allowed are {', '.join(options)}")
    return {options[each]: value for each, value in url.options.items() if each in options and value}


def _named(prefix: str, url: ServerUrl, path: str) -> dict[str, str]:
    """The parts of the URL under the names of the single variables; a port that all hosts share is a part by itself."""
    ports = {port for _, port in url.hosts}
    names = ",".join(f"[{host}]" if ":" in host else host for host, _ in url.hosts)
    at = {"HOST": names, "PORT": str(*ports)} if len(ports) == 1 else {"HOST": format_hosts(url.hosts)}
    found = at | {"USER": url.user, "PASSWORD": url.password, path: url.path}
    return {f"{prefix}_{part}": value for part, value in found.items() if value}


def _certificate(env: Environment, certificate: str, key: str) -> tuple[str, str]:
    """The files of a client certificate and of its key: both, which may be the same file, or none."""
    files = env.text(certificate), env.text(key)
    if bool(files[0]) != bool(files[1]):
        missing, given = (key, certificate) if files[0] else (certificate, key)
        env.reject(f"{missing} is required, because {given} is set; both may name the same file")
    return files
