"""Settings of `make run`: ports, private servers, and whether the settings of all processes are valid."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import api.settings
import ingestor.settings
import persister.settings
from common import settings
from common.server_url import HostAndPort
from common.settings import Environment, process_environment
from deploy.run.ports import Port

_HERE = ("127.0.0.1", "localhost")
_SOURCES = ("cli", "common", "ingestor", "persister", "api", "simulator", "alembic", "deploy")
_WITHOUT_TLS = ("disable", "allow", "prefer")
_NO_TLS = "the private server has no TLS; WS_GATEWAY_PRIVATE_SERVERS=none uses a server of your own on this machine"
REAL = ("mainnet", "testnet", "demo")


@dataclass(frozen=True, slots=True)
class Settings:
    bybit: settings.Bybit
    postgres: settings.Postgres
    rabbitmq: settings.RabbitMQ
    management_port: int
    dist_port: int
    epmd_port: int
    simulator_port: int
    ingestor_metrics_port: int
    bind: str
    api_port: int
    spool_dir: Path
    api_key: str = field(repr=False)
    private_servers: str  # auto: start them for hosts on this machine; none: use servers that exist

    @classmethod
    def from_env(cls, values: Mapping[str, str]) -> "Settings":
        """Raises ConfigError that names every invalid variable."""
        env = Environment(values)
        found = cls(
            bybit=settings.bybit(env),
            postgres=settings.postgres(env),
            rabbitmq=settings.rabbitmq(env),
            management_port=env.port("RABBITMQ_MANAGEMENT_PORT", 4473),
            dist_port=env.port("RABBITMQ_DIST_PORT", 4474),
            epmd_port=env.port("ERL_EPMD_PORT", 4475),
            simulator_port=env.port("SIMULATOR_PORT", 4480),
            ingestor_metrics_port=env.whole("WS_GATEWAY_METRICS_PORT", 4401, 1, 65534),
            bind=settings.bind(env),
            api_port=env.port("WS_GATEWAY_PORT", 4400),
            spool_dir=Path(env.text("WS_GATEWAY_SPOOL_DIR", ".run/spool")),
            api_key=env.required_secret("WS_GATEWAY_API_KEY"),
            private_servers=env.one_of("WS_GATEWAY_PRIVATE_SERVERS", ("auto", "none"), "auto"),
        )
        if found.private_postgres and (found.postgres.sslmode not in _WITHOUT_TLS or found.postgres.sslcert):
            env.refuse("POSTGRES_SSLMODE", found.postgres.sslmode, f"prefer without certificates, because {_NO_TLS}")
        if found.private_rabbitmq and found.rabbitmq.tls:
            env.refuse("RABBITMQ_TLS", "true", f"false, because {_NO_TLS}")
        env.checked()
        return found

    @property
    def simulated(self) -> bool:
        return self.bybit.environment == "simulator" and not self.bybit.ws_url

    @property
    def private_postgres(self) -> bool:
        return self.private_servers == "auto" and _is_private(self.postgres.hosts)

    @property
    def private_rabbitmq(self) -> bool:
        return self.private_servers == "auto" and _is_private(self.rabbitmq.hosts)

    @property
    def postgres_port(self) -> int:
        return self.postgres.hosts[0][1]

    @property
    def rabbitmq_port(self) -> int:
        return self.rabbitmq.hosts[0][1]

    @property
    def persister_metrics_port(self) -> int:
        return self.ingestor_metrics_port + 1

    def programs(self) -> list[str]:
        """The supervised programs, in start order."""
        servers = ["postgres"] * self.private_postgres + ["rabbitmq"] * self.private_rabbitmq
        return servers + ["simulator"] * self.simulated + ["ingestor", "persister", "api"]

    def ports(self) -> list[Port]:
        ports = [
            Port(self.api_port, "WS_GATEWAY_PORT", self.bind),
            Port(self.ingestor_metrics_port, "WS_GATEWAY_METRICS_PORT", self.bind),
            Port(self.persister_metrics_port, "WS_GATEWAY_METRICS_PORT (the persister takes the next one)", self.bind),
        ]
        if self.private_postgres:
            ports.append(Port(self.postgres_port, "POSTGRES_PORT"))
        if self.private_rabbitmq:
            ports += [
                Port(self.rabbitmq_port, "RABBITMQ_PORT"),
                Port(self.management_port, "RABBITMQ_MANAGEMENT_PORT"),
                Port(self.dist_port, "RABBITMQ_DIST_PORT"),
                Port(self.epmd_port, "ERL_EPMD_PORT"),
            ]
        if self.simulated:
            ports.append(Port(self.simulator_port, "SIMULATOR_PORT"))
        return ports


def _is_private(hosts: tuple[HostAndPort, ...]) -> bool:
    """One host, this machine: several are servers of the user, wherever they are."""
    return len(hosts) == 1 and hosts[0][0] in _HERE


def checked(root: Path) -> Settings:
    """The settings, after those of each process have been checked. Raises ConfigError."""
    values = environment(root)
    for process in (Settings, ingestor.settings.Settings, persister.settings.Settings, api.settings.Settings):
        process.from_env(values)
    return Settings.from_env(values)


def environment(root: Path) -> dict[str, str]:
    return process_environment(root / ".env")


def fingerprint(root: Path, values: Mapping[str, str]) -> str:
    """A digest of settings and code: a change means that running programs are out of date."""
    example = (root / "env.example").read_text(encoding="utf-8").replace("#", "").splitlines()
    names = {line.partition("=")[0] for line in example if "=" in line}
    digest = hashlib.sha256()
    for name in sorted(values):
        if name in names or name.removesuffix("_FILE") in names:
            digest.update(f"{name}={values[name]}\0".encode())
    for path in _sources(root):
        state = path.stat()
        digest.update(f"{path}\0{state.st_size}\0{state.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def _sources(root: Path) -> Iterable[Path]:
    folders = (root / name for name in _SOURCES)
    return sorted(path for folder in folders for path in folder.rglob("*.py"))
