"""Run the migrations, one process at a time."""

import re

from alembic import context
from sqlalchemy import text

from common import database, entrypoint, settings
from common.tables import metadata

_ONE_AT_A_TIME = 0x77736D67  # advisory lock, held to the end of the transaction
_MIGRATED_WITHIN_S = 3600.0
_PARTITION = re.compile(r"(account_balances|account_margin_balances)_(default|\d{4}_\d{2})")


def include_name(name: str | None, kind: str, _parents: object) -> bool:
    """Exclude partitions, which are also created at run time."""
    return not (kind == "table" and name and _PARTITION.fullmatch(name))


def run_online(postgres: settings.Postgres) -> None:
    database.limit_waits(_MIGRATED_WITHIN_S)
    engine = database.engine(postgres, "ws-gateway migrations")
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=metadata, include_name=include_name)
        with context.begin_transaction():
            connection.execute(text("SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ONE_AT_A_TIME})
            context.run_migrations()


def run_offline(_: settings.Postgres) -> None:
    context.configure(dialect_name="postgresql", target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def postgres_settings() -> settings.Postgres:
    env = settings.Environment(settings.process_environment())
    found = settings.postgres(env)
    env.checked()
    return found


(run_offline if context.is_offline_mode() else run_online)(entrypoint.run("alembic", postgres_settings))
