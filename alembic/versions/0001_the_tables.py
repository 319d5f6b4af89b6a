"""The tables."""

import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


GENERATIONS = "subscription_generation"
LATEST_BY = {"account_balances": ("coin", "account_type"), "account_margin_balances": ("account_type",)}


def months_ahead() -> list[str]:
    """This month and the next two, so that the first rows have their place; the persister makes the later ones."""
    today = datetime.datetime.now(datetime.UTC)
    first = today.year * 12 + today.month - 1
    return [_month(number) for number in range(first, first + 3)]


def _month(number: int) -> str:
    starts, ends = (f"{n // 12:04d}-{n % 12 + 1:02d}" for n in (number, number + 1))
    name = starts.replace("-", "_")
    bounds = f"FROM ('{starts}-01 00:00:00+00') TO ('{ends}-01 00:00:00+00')"
    return f"CREATE TABLE {{table}}_{name} PARTITION OF {{table}} FOR VALUES {bounds}"


def keep_latest(ledger: sa.Table) -> None:
    """Beside a ledger the newest row of each key: `event_timestamp` decides, among equals the arrival."""
    table, latest, key = ledger.name, f"latest_{ledger.name}", ", ".join(LATEST_BY[ledger.name])
    columns = [column.name for column in ledger.columns if column.name != "raw"]
    listed, added = ", ".join(columns), ", ".join(f"excluded.{name}" for name in columns)
    op.execute(
        f"CREATE TABLE {latest} (LIKE {table} INCLUDING DEFAULTS INCLUDING COMMENTS,"
        f" CONSTRAINT pk_{latest} PRIMARY KEY ({key})) WITH (fillfactor = 50)"
    )
    op.drop_column(latest, "raw")
    newest = f"SELECT DISTINCT ON ({key}) {listed} FROM added ORDER BY {key}, event_timestamp DESC, id DESC"  # noqa: S608
    op.execute(
        f"CREATE FUNCTION keep_{latest}() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN"
        f" INSERT INTO {latest} AS kept ({listed}) {newest}"
        f" ON CONFLICT ({key}) DO UPDATE SET ({listed}) = ({added})"
        f" WHERE (kept.event_timestamp, kept.id) < (excluded.event_timestamp, excluded.id);"
        f" RETURN NULL; END $body$"
    )
    op.execute(
        f"CREATE TRIGGER keep_latest AFTER INSERT ON {table} REFERENCING NEW TABLE AS added"
        f" FOR EACH STATEMENT EXECUTE FUNCTION keep_{latest}()"
    )


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence(GENERATIONS)))
    account_balances = op.create_table(
        "account_balances",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="rises in order of arrival"),
        sa.Column(
            "event_timestamp",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="creationTime; received_at where Bybit gave none",
        ),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("account_no", sa.Integer(), nullable=False, comment="place in the message's data"),
        sa.Column("coin", sa.Text(), nullable=False),
        sa.Column(
            "coin_no",
            sa.Integer(),
            nullable=False,
            comment="place in the account's coin list; -1: not listed, so zero",
        ),
        sa.Column("account_type", sa.Text(), server_default="", nullable=False, comment="empty where Bybit named none"),
        sa.Column("wallet_balance", sa.Numeric(), nullable=True),
        sa.Column("available_balance", sa.Numeric(), nullable=True),
        sa.Column("frozen", sa.Numeric(), nullable=True),
        sa.Column("equity", sa.Numeric(), nullable=True),
        sa.Column("usd_value", sa.Numeric(), nullable=True),
        sa.Column("locked", sa.Numeric(), nullable=True),
        sa.Column("spot_hedging_qty", sa.Numeric(), nullable=True),
        sa.Column("bonus", sa.Numeric(), nullable=True),
        sa.Column("borrow_amount", sa.Numeric(), nullable=True),
        sa.Column("spot_borrow", sa.Numeric(), nullable=True),
        sa.Column("accrued_interest", sa.Numeric(), nullable=True),
        sa.Column("total_order_im", sa.Numeric(), nullable=True),
        sa.Column("total_position_im", sa.Numeric(), nullable=True),
        sa.Column("total_position_mm", sa.Numeric(), nullable=True),
        sa.Column("unrealised_pnl", sa.Numeric(), nullable=True),
        sa.Column("cum_realised_pnl", sa.Numeric(), nullable=True),
        sa.Column("available_to_withdraw", sa.Numeric(), nullable=True),
        sa.Column("available_to_borrow", sa.Numeric(), nullable=True),
        sa.Column("free", sa.Numeric(), nullable=True),
        sa.Column("col_res", sa.Text(), nullable=True),
        sa.Column("collateral_switch", sa.Boolean(), nullable=True),
        sa.Column("margin_collateral", sa.Boolean(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("trace_id", sa.Text(), nullable=True),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("anomalies", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("raw", postgresql.JSON(astext_type=sa.Text()), nullable=False, comment="the coin as Bybit wrote it"),
        sa.PrimaryKeyConstraint(
            "event_timestamp", "event_id", "account_no", "coin", "coin_no", name=op.f("pk_account_balances")
        ),
        postgresql_partition_by="RANGE (event_timestamp)",
    )
    op.create_index(
        "ix_account_balances_coin", "account_balances", ["coin", "account_type", "event_timestamp", "id"], unique=False
    )
    account_margin_balances = op.create_table(
        "account_margin_balances",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="rises in order of arrival"),
        sa.Column(
            "event_timestamp",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="creationTime; received_at where Bybit gave none",
        ),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("account_no", sa.Integer(), nullable=False, comment="place in the message's data"),
        sa.Column("account_type", sa.Text(), server_default="", nullable=False, comment="empty where Bybit named none"),
        sa.Column("total_equity", sa.Numeric(), nullable=True),
        sa.Column("total_wallet_balance", sa.Numeric(), nullable=True),
        sa.Column("total_margin_balance", sa.Numeric(), nullable=True),
        sa.Column("total_available_balance", sa.Numeric(), nullable=True),
        sa.Column("total_perp_upl", sa.Numeric(), nullable=True),
        sa.Column("total_initial_margin", sa.Numeric(), nullable=True),
        sa.Column("total_maintenance_margin", sa.Numeric(), nullable=True),
        sa.Column("total_initial_margin_by_mp", sa.Numeric(), nullable=True),
        sa.Column("total_maintenance_margin_by_mp", sa.Numeric(), nullable=True),
        sa.Column("account_im_rate", sa.Numeric(), nullable=True),
        sa.Column("account_mm_rate", sa.Numeric(), nullable=True),
        sa.Column("account_im_rate_by_mp", sa.Numeric(), nullable=True),
        sa.Column("account_mm_rate_by_mp", sa.Numeric(), nullable=True),
        sa.Column("account_ltv", sa.Numeric(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("trace_id", sa.Text(), nullable=True),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("anomalies", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column(
            "raw", postgresql.JSON(astext_type=sa.Text()), nullable=False, comment="the whole message as Bybit wrote it"
        ),
        sa.PrimaryKeyConstraint("event_timestamp", "event_id", "account_no", name=op.f("pk_account_margin_balances")),
        postgresql_partition_by="RANGE (event_timestamp)",
    )
    op.create_index(
        "ix_account_margin_balances_account_type",
        "account_margin_balances",
        ["account_type", "event_timestamp", "id"],
        unique=False,
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )
    op.create_index("ix_api_keys_service", "api_keys", ["service"], unique=False)
    op.create_index("uq_api_keys_digest", "api_keys", ["digest"], unique=True)
    op.create_table(
        "balance_audits",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False, comment="the snapshot that was compared"),
        sa.Column(
            "requested_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="exchange clock: the version of the snapshot",
        ),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False, comment="proven, unconfirmed, drift or empty"),
        sa.Column("coins", sa.Integer(), nullable=False),
        sa.Column("drifts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("trace_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_balance_audits")),
    )
    op.create_index("ix_balance_audits_recorded", "balance_audits", ["recorded_at"], unique=False)
    op.create_index("uq_balance_audits_event_id", "balance_audits", ["event_id"], unique=True)
    op.create_table(
        "balance_syncs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "requested_by",
            sa.Text(),
            nullable=False,
            comment="api, or persister for the second look at a difference",
        ),
        sa.Column("requested_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("trace_id", sa.Text(), nullable=True),
        sa.Column(
            "due_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="not to be fetched earlier",
        ),
        sa.Column(
            "snapshots",
            postgresql.ARRAY(sa.Text()),
            server_default="{}",
            nullable=False,
            comment="event ids of what was fetched",
        ),
        sa.Column("coins", sa.Integer(), nullable=True),
        sa.Column(
            "changes",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="[]",
            nullable=False,
            comment="what was corrected in the ledger",
        ),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True, comment="proven, drift, empty or failed, once it is done"),
        sa.Column("reason", sa.Text(), nullable=True, comment="why it failed"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_balance_syncs")),
    )
    op.create_index(
        "ix_balance_syncs_waiting",
        "balance_syncs",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("done_at IS NULL"),
    )
    op.create_table(
        "connections",
        sa.Column("epoch", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("socket_no", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("rtt_ms", sa.Double(), nullable=True),
        sa.Column("clock_offset_ms", sa.Double(), nullable=True),
        sa.Column("last_heartbeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("epoch", "endpoint", "socket_no", name=op.f("pk_connections")),
    )
    op.create_table(
        "gaps",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("opened", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column(
            "ids",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="last_id before, first_id after",
        ),
        sa.Column("healed", sa.Text(), nullable=True, comment="yes, in part or no, once it is closed"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gaps")),
    )
    op.create_index("ix_gaps_opened", "gaps", ["opened"], unique=False)
    op.create_index("uq_gaps_window", "gaps", ["endpoint", "topic", "opened"], unique=True)
    op.create_table(
        "ingestors",
        sa.Column("epoch", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("role", sa.Text(), nullable=False, comment="leader or standby"),
        sa.Column(
            "generation",
            sa.BigInteger(),
            nullable=False,
            comment="the newest change of subscriptions that is carried out",
        ),
        sa.Column("broker_connected", sa.Boolean(), nullable=False),
        sa.Column("broker_since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("epoch", name=op.f("pk_ingestors")),
    )
    op.create_table(
        "instruments",
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("base_coin", sa.Text(), nullable=False),
        sa.Column("quote_coin", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("observed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("category", "symbol", name=op.f("pk_instruments")),
    )
    op.create_index("ix_instruments_base_coin", "instruments", ["category", "base_coin"], unique=False)
    op.create_table(
        "queues",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("class", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=True),
        sa.Column("ready", sa.BigInteger(), nullable=True),
        sa.Column("consumers", sa.Integer(), nullable=True),
        sa.Column("publish_rate", sa.Double(), nullable=True),
        sa.Column("net_rate", sa.Double(), nullable=True),
        sa.Column("unused_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("alarm", sa.Text(), nullable=True, comment="warning or critical, NULL when all is well"),
        sa.Column("reason", sa.Text(), nullable=True, comment="why there is an alarm"),
        sa.Column("observed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_queues")),
    )
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("channel_type", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=True),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("routing_key", sa.Text(), nullable=False),
        sa.Column("requesting_service", sa.Text(), nullable=False),
        sa.Column("params", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("ended", sa.Text(), nullable=True, comment="cancelled or expired, once it is not active"),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("trace_id", sa.Text(), nullable=True, comment="of the request that last changed the row"),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("is_active = (ended IS NULL)", name=op.f("ck_subscriptions_ended_when_not_active")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriptions")),
    )
    op.create_index(
        "ix_subscriptions_active_topic",
        "subscriptions",
        ["endpoint", "topic"],
        unique=False,
        postgresql_where=sa.text("is_active"),
    )
    op.create_index(
        "ix_subscriptions_ended", "subscriptions", ["requesting_service", "channel_type", "updated_at"], unique=False
    )
    op.create_index(
        "ix_subscriptions_expires",
        "subscriptions",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("is_active AND expires_at IS NOT NULL"),
    )
    op.create_index("ix_subscriptions_listed", "subscriptions", ["created_at", "id"], unique=False)
    op.create_index(
        "uq_subscriptions_active",
        "subscriptions",
        ["requesting_service", "endpoint", "topic"],
        unique=True,
        postgresql_where=sa.text("is_active"),
    )
    op.create_table(
        "topics",
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("channel_type", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("epoch", sa.Text(), nullable=False),
        sa.Column("acked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_event_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("endpoint", "topic", name=op.f("pk_topics")),
        postgresql_with={"fillfactor": 50},
    )
    for ledger in (account_balances, account_margin_balances):
        op.execute(f"CREATE TABLE {ledger.name}_default PARTITION OF {ledger.name} DEFAULT")
        for month in months_ahead():
            op.execute(month.format(table=ledger.name))
        keep_latest(ledger)


def downgrade() -> None:
    op.drop_table("topics")
    op.drop_index("uq_subscriptions_active", table_name="subscriptions", postgresql_where=sa.text("is_active"))
    op.drop_index("ix_subscriptions_listed", table_name="subscriptions")
    op.drop_index(
        "ix_subscriptions_expires",
        table_name="subscriptions",
        postgresql_where=sa.text("is_active AND expires_at IS NOT NULL"),
    )
    op.drop_index("ix_subscriptions_ended", table_name="subscriptions")
    op.drop_index("ix_subscriptions_active_topic", table_name="subscriptions", postgresql_where=sa.text("is_active"))
    op.drop_table("subscriptions")
    op.drop_table("queues")
    op.drop_index("ix_instruments_base_coin", table_name="instruments")
    op.drop_table("instruments")
    op.drop_table("ingestors")
    op.drop_index("uq_gaps_window", table_name="gaps")
    op.drop_index("ix_gaps_opened", table_name="gaps")
    op.drop_table("gaps")
    op.drop_table("connections")
    op.drop_index("ix_balance_syncs_waiting", table_name="balance_syncs", postgresql_where=sa.text("done_at IS NULL"))
    op.drop_table("balance_syncs")
    op.drop_index("uq_balance_audits_event_id", table_name="balance_audits")
    op.drop_index("ix_balance_audits_recorded", table_name="balance_audits")
    op.drop_table("balance_audits")
    op.drop_index("uq_api_keys_digest", table_name="api_keys")
    op.drop_index("ix_api_keys_service", table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_index("ix_account_margin_balances_account_type", table_name="account_margin_balances")
    op.drop_table("account_margin_balances")
    op.drop_index("ix_account_balances_coin", table_name="account_balances")
    op.drop_table("account_balances")
    for table in LATEST_BY:
        op.drop_table(f"latest_{table}")
        op.execute(f"DROP FUNCTION keep_latest_{table}()")
    op.execute(sa.schema.DropSequence(sa.Sequence(GENERATIONS)))
