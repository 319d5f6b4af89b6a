"""Start one supervised program: `python -m deploy.run.program api` reads the settings and becomes the api.

Settings are read here, at each start, so that `supervisorctl restart` takes a changed .env.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from common import entrypoint
from deploy.run import settings
from deploy.run.settings import Settings
from deploy.servers import postgres, rabbitmq
from deploy.servers.launching import LaunchError, account_of, give, refuse, step_down_into
from deploy.servers.reaching import SystemUser

ROOT = Path(__file__).resolve().parents[2]
USER = "ws-gateway"  # runs our own programs when root starts them


def start(name: str, values: Mapping[str, str]) -> None:
    found = Settings.from_env(values)
    if name == "postgres":
        postgres.launch(private_postgres(found, ROOT), values)
    elif name == "rabbitmq":
        rabbitmq.launch(private_rabbitmq(found, ROOT), values)
    else:
        command = [sys.executable, "-m", *module(name)]
        if os.geteuid() == 0:
            _step_down(ROOT / found.spool_dir)
        os.execve(command[0], command, dict(os.environ) | variables(name, found))


def module(name: str) -> list[str]:
    return ["gunicorn", "-c", "deploy/gunicorn.conf.py", "api.wsgi:app"] if name == "api" else [name]


def variables(name: str, found: Settings) -> dict[str, str]:
    """The variables that a process cannot read from .env itself."""
    match name:
        case "simulator":
            return {"SIMULATOR_PORT": str(found.simulator_port)}
        case "ingestor":
            return {"WS_GATEWAY_METRICS_PORT": str(found.ingestor_metrics_port)} | _exchange(found)
        case "persister":
            return {"WS_GATEWAY_METRICS_PORT": str(found.persister_metrics_port)}
        case _:
            return {}


def private_postgres(found: Settings, root: Path) -> postgres.PostgresServer:
    return postgres.PostgresServer(
        data=root / ".run" / "postgres",
        port=found.postgres_port,
        user=found.postgres.user,
        password=found.postgres.password,
        database=found.postgres.database,
    )


def private_rabbitmq(found: Settings, root: Path) -> rabbitmq.RabbitMQServer:
    return rabbitmq.RabbitMQServer(
        data=root / ".run" / "rabbitmq",
        port=found.rabbitmq_port,
        management_port=found.management_port,
        dist_port=found.dist_port,
        epmd_port=found.epmd_port,
        user=found.rabbitmq.user,
        password=found.rabbitmq.password,
        vhost=found.rabbitmq.vhost,
    )


def _step_down(spool: Path) -> None:
    """Become a user who can read the code and .env, and write only to the spool."""
    account = account_of(USER)
    _let_read(ROOT / ".env", account)
    if not spool.exists() or spool.is_relative_to(ROOT / ".run"):  # a folder given by the user is not changed
        spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        give(spool, account)
    step_down_into([ROOT, Path(sys.base_prefix), spool], account)
    os.chdir(ROOT)  # again, because the path now leads to the reachable folder


def _let_read(file: Path, account: SystemUser) -> None:
    """Copy .env for the processes, which read it at their start and again while they run."""
    if file.exists():
        os.chown(file, -1, account.gid)
        file.chmod(file.stat().st_mode | 0o040)


def _exchange(found: Settings) -> dict[str, str]:
    if not found.simulated:
        return {}
    at = f"127.0.0.1:{found.simulator_port}"
    return {"BYBIT_WS_URL": f"ws://{at}", "BYBIT_REST_URL": found.bybit.rest_url or f"http://{at}"}


def main(name: str) -> int:
    os.chdir(ROOT)
    try:
        entrypoint.run(name, lambda: start(name, settings.environment(ROOT)))
    except LaunchError as error:
        return refuse(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
