-- A database of commit a3f9e28, revision 0003: pg_dump --no-owner --no-privileges --inserts, without comments.
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE FUNCTION public.keep_latest_account_balances() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN INSERT INTO latest_account_balances AS kept (id, event_timestamp, event_id, account_no, coin, coin_no, account_type, wallet_balance, available_balance, frozen, equity, usd_value, locked, spot_hedging_qty, bonus, borrow_amount, spot_borrow, accrued_interest, total_order_im, total_position_im, total_position_mm, unrealised_pnl, cum_realised_pnl, available_to_withdraw, available_to_borrow, free, col_res, collateral_switch, margin_collateral, received_at, recorded_at, trace_id, origin, anomalies) SELECT DISTINCT ON (coin, account_type) id, event_timestamp, event_id, account_no, coin, coin_no, account_type, wallet_balance, available_balance, frozen, equity, usd_value, locked, spot_hedging_qty, bonus, borrow_amount, spot_borrow, accrued_interest, total_order_im, total_position_im, total_position_mm, unrealised_pnl, cum_realised_pnl, available_to_withdraw, available_to_borrow, free, col_res, collateral_switch, margin_collateral, received_at, recorded_at, trace_id, origin, anomalies FROM added ORDER BY coin, account_type, event_timestamp DESC, id DESC ON CONFLICT (coin, account_type) DO UPDATE SET (id, event_timestamp, event_id, account_no, coin, coin_no, account_type, wallet_balance, available_balance, frozen, equity, usd_value, locked, spot_hedging_qty, bonus, borrow_amount, spot_borrow, accrued_interest, total_order_im, total_position_im, total_position_mm, unrealised_pnl, cum_realised_pnl, available_to_withdraw, available_to_borrow, free, col_res, collateral_switch, margin_collateral, received_at, recorded_at, trace_id, origin, anomalies) = (excluded.id, excluded.event_timestamp, excluded.event_id, excluded.account_no, excluded.coin, excluded.coin_no, excluded.account_type, excluded.wallet_balance, excluded.available_balance, excluded.frozen, excluded.equity, excluded.usd_value, excluded.locked, excluded.spot_hedging_qty, excluded.bonus, excluded.borrow_amount, excluded.spot_borrow, excluded.accrued_interest, excluded.total_order_im, excluded.total_position_im, excluded.total_position_mm, excluded.unrealised_pnl, excluded.cum_realised_pnl, excluded.available_to_withdraw, excluded.available_to_borrow, excluded.free, excluded.col_res, excluded.collateral_switch, excluded.margin_collateral, excluded.received_at, excluded.recorded_at, excluded.trace_id, excluded.origin, excluded.anomalies) WHERE (kept.event_timestamp, kept.id) < (excluded.event_timestamp, excluded.id); RETURN NULL; END $$;
CREATE FUNCTION public.keep_latest_account_margin_balances() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN INSERT INTO latest_account_margin_balances AS kept (id, event_timestamp, event_id, account_no, account_type, total_equity, total_wallet_balance, total_margin_balance, total_available_balance, total_perp_upl, total_initial_margin, total_maintenance_margin, total_initial_margin_by_mp, total_maintenance_margin_by_mp, account_im_rate, account_mm_rate, account_im_rate_by_mp, account_mm_rate_by_mp, account_ltv, received_at, recorded_at, trace_id, origin, anomalies) SELECT DISTINCT ON (account_type) id, event_timestamp, event_id, account_no, account_type, total_equity, total_wallet_balance, total_margin_balance, total_available_balance, total_perp_upl, total_initial_margin, total_maintenance_margin, total_initial_margin_by_mp, total_maintenance_margin_by_mp, account_im_rate, account_mm_rate, account_im_rate_by_mp, account_mm_rate_by_mp, account_ltv, received_at, recorded_at, trace_id, origin, anomalies FROM added ORDER BY account_type, event_timestamp DESC, id DESC ON CONFLICT (account_type) DO UPDATE SET (id, event_timestamp, event_id, account_no, account_type, total_equity, total_wallet_balance, total_margin_balance, total_available_balance, total_perp_upl, total_initial_margin, total_maintenance_margin, total_initial_margin_by_mp, total_maintenance_margin_by_mp, account_im_rate, account_mm_rate, account_im_rate_by_mp, account_mm_rate_by_mp, account_ltv, received_at, recorded_at, trace_id, origin, anomalies) = (excluded.id, excluded.event_timestamp, excluded.event_id, excluded.account_no, excluded.account_type, excluded.total_equity, excluded.total_wallet_balance, excluded.total_margin_balance, excluded.total_available_balance, excluded.total_perp_upl, excluded.total_initial_margin, excluded.total_maintenance_margin, excluded.total_initial_margin_by_mp, excluded.total_maintenance_margin_by_mp, excluded.account_im_rate, excluded.account_mm_rate, excluded.account_im_rate_by_mp, excluded.account_mm_rate_by_mp, excluded.account_ltv, excluded.received_at, excluded.recorded_at, excluded.trace_id, excluded.origin, excluded.anomalies) WHERE (kept.event_timestamp, kept.id) < (excluded.event_timestamp, excluded.id); RETURN NULL; END $$;
SET default_tablespace = '';
CREATE TABLE public.account_balances (
    id bigint NOT NULL,
    event_timestamp timestamp with time zone NOT NULL,
    event_id text NOT NULL,
    account_no integer NOT NULL,
    coin text NOT NULL,
    coin_no integer NOT NULL,
    account_type text DEFAULT ''::text NOT NULL,
    wallet_balance numeric,
    available_balance numeric,
    frozen numeric,
    equity numeric,
    usd_value numeric,
    locked numeric,
    spot_hedging_qty numeric,
    bonus numeric,
    borrow_amount numeric,
    spot_borrow numeric,
    accrued_interest numeric,
    total_order_im numeric,
    total_position_im numeric,
    total_position_mm numeric,
    unrealised_pnl numeric,
    cum_realised_pnl numeric,
    available_to_withdraw numeric,
    available_to_borrow numeric,
    free numeric,
    col_res text,
    collateral_switch boolean,
    margin_collateral boolean,
    received_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    trace_id text,
    origin text NOT NULL,
    anomalies text[] DEFAULT '{}'::text[] NOT NULL,
    raw json NOT NULL
)
PARTITION BY RANGE (event_timestamp);
COMMENT ON COLUMN public.account_balances.id IS 'rises in order of arrival';
COMMENT ON COLUMN public.account_balances.event_timestamp IS 'creationTime; received_at where Bybit gave none';
COMMENT ON COLUMN public.account_balances.account_no IS 'place in the message''s data';
COMMENT ON COLUMN public.account_balances.coin_no IS 'place in the account''s coin list; -1: not listed, so zero';
COMMENT ON COLUMN public.account_balances.account_type IS 'empty where Bybit named none';
COMMENT ON COLUMN public.account_balances.raw IS 'the coin as Bybit wrote it';
SET default_table_access_method = heap;
CREATE TABLE public.account_balances_2026_11 (
    id bigint NOT NULL,
    event_timestamp timestamp with time zone NOT NULL,
    event_id text NOT NULL,
    account_no integer NOT NULL,
    coin text NOT NULL,
    coin_no integer NOT NULL,
    account_type text DEFAULT ''::text NOT NULL,
    wallet_balance numeric,
    available_balance numeric,
    frozen numeric,
    equity numeric,
    usd_value numeric,
    locked numeric,
    spot_hedging_qty numeric,
    bonus numeric,
    borrow_amount numeric,
    spot_borrow numeric,
    accrued_interest numeric,
    total_order_im numeric,
    total_position_im numeric,
    total_position_mm numeric,
    unrealised_pnl numeric,
    cum_realised_pnl numeric,
    available_to_withdraw numeric,
    available_to_borrow numeric,
    free numeric,
    col_res text,
    collateral_switch boolean,
    margin_collateral boolean,
    received_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    trace_id text,
    origin text NOT NULL,
    anomalies text[] DEFAULT '{}'::text[] NOT NULL,
    raw json NOT NULL
);
CREATE TABLE public.account_balances_2026_12 (
    id bigint NOT NULL,
    event_timestamp timestamp with time zone NOT NULL,
    event_id text NOT NULL,
    account_no integer NOT NULL,
    coin text NOT NULL,
    coin_no integer NOT NULL,
    account_type text DEFAULT ''::text NOT NULL,
    wallet_balance numeric,
    available_balance numeric,
    frozen numeric,
    equity numeric,
    usd_value numeric,
    locked numeric,
    spot_hedging_qty numeric,
    bonus numeric,
    borrow_amount numeric,
    spot_borrow numeric,
    accrued_interest numeric,
    total_order_im numeric,
    total_position_im numeric,
    total_position_mm numeric,
    unrealised_pnl numeric,
    cum_realised_pnl numeric,
    available_to_withdraw numeric,
    available_to_borrow numeric,
    free numeric,
    col_res text,
    collateral_switch boolean,
    margin_collateral boolean,
    received_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    trace_id text,
    origin text NOT NULL,
    anomalies text[] DEFAULT '{}'::text[] NOT NULL,
    raw json NOT NULL
);
CREATE TABLE public.account_balances_2027_01 (
    id bigint NOT NULL,
    event_timestamp timestamp with time zone NOT NULL,
    event_id text NOT NULL,
    account_no integer NOT NULL,
    coin text NOT NULL,
    coin_no integer NOT NULL,
    account_type text DEFAULT ''::text NOT NULL,
    wallet_balance numeric,
    available_balance numeric,
    frozen numeric,
    equity numeric,
    usd_value numeric,
    locked numeric,
    spot_hedging_qty numeric,
    bonus numeric,
    borrow_amount numeric,
    spot_borrow numeric,
    accrued_interest numeric,
    total_order_im numeric,
    total_position_im numeric,
    total_position_mm numeric,
    unrealised_pnl numeric,
    cum_realised_pnl numeric,
    available_to_withdraw numeric,
    available_to_borrow numeric,
    free numeric,
    col_res text,
    collateral_switch boolean,
    margin_collateral boolean,
    received_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    trace_id text,
    origin text NOT NULL,
    anomalies text[] DEFAULT '{}'::text[] NOT NULL,
    raw json NOT NULL
);
CREATE TABLE public.account_balances_default (
    id bigint NOT NULL,
    event_timestamp timestamp with time zone NOT NULL,
    event_id text NOT NULL,
    account_no integer NOT NULL,
    coin text NOT NULL,
    coin_no integer NOT NULL,
    account_type text DEFAULT ''::text NOT NULL,
    wallet_balance numeric,
    available_balance numeric,
    frozen numeric,
    equity numeric,
    usd_value numeric,
    locked numeric,
    spot_hedging_qty numeric,
    bonus numeric,
    borrow_amount numeric,
    spot_borrow numeric,
    accrued_interest numeric,
    total_order_im numeric,
    total_position_im numeric,
    total_position_mm numeric,
    unrealised_pnl numeric,
    cum_realised_pnl numeric,
    available_to_withdraw numeric,
    available_to_borrow numeric,
    free numeric,
    col_res text,
    collateral_switch boolean,
    margin_collateral boolean,
    received_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    trace_id text,
    origin text NOT NULL,
    anomalies text[] DEFAULT '{}'::text[] NOT NULL,
    raw json NOT NULL
);
ALTER TABLE public.account_balances ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.account_balances_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.account_margin_balances (
    id bigint NOT NULL,
    event_timestamp timestamp with time zone NOT NULL,
    event_id text NOT NULL,
    account_no integer NOT NULL,
    account_type text DEFAULT ''::text NOT NULL,
    total_equity numeric,
    total_wallet_balance numeric,
    total_margin_balance numeric,
    total_available_balance numeric,
    total_perp_upl numeric,
    total_initial_margin numeric,
    total_maintenance_margin numeric,
    total_initial_margin_by_mp numeric,
    total_maintenance_margin_by_mp numeric,
    account_im_rate numeric,
    account_mm_rate numeric,
    account_im_rate_by_mp numeric,
    account_mm_rate_by_mp numeric,
    account_ltv numeric,
    received_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    trace_id text,
    origin text NOT NULL,
    anomalies text[] DEFAULT '{}'::text[] NOT NULL,
    raw json NOT NULL
)
PARTITION BY RANGE (event_timestamp);
COMMENT ON COLUMN public.account_margin_balances.id IS 'rises in order of arrival';
COMMENT ON COLUMN public.account_margin_balances.event_timestamp IS 'creationTime; received_at where Bybit gave none';
COMMENT ON COLUMN public.account_margin_balances.account_no IS 'place in the message''s data';
COMMENT ON COLUMN public.account_margin_balances.account_type IS 'empty where Bybit named none';
COMMENT ON COLUMN public.account_margin_balances.raw IS 'the whole message as Bybit wrote it';
CREATE TABLE public.account_margin_balances_2026_11 (
    id bigint NOT NULL,
    event_timestamp timestamp with time zone NOT NULL,
    event_id text NOT NULL,
    account_no integer NOT NULL,
    account_type text DEFAULT ''::text NOT NULL,
    total_equity numeric,
    total_wallet_balance numeric,
    total_margin_balance numeric,
    total_available_balance numeric,
    total_perp_upl numeric,
    total_initial_margin numeric,
    total_maintenance_margin numeric,
    total_initial_margin_by_mp numeric,
    total_maintenance_margin_by_mp numeric,
    account_im_rate numeric,
    account_mm_rate numeric,
    account_im_rate_by_mp numeric,
    account_mm_rate_by_mp numeric,
    account_ltv numeric,
    received_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    trace_id text,
    origin text NOT NULL,
    anomalies text[] DEFAULT '{}'::text[] NOT NULL,
    raw json NOT NULL
);
CREATE TABLE public.account_margin_balances_2026_12 (
    id bigint NOT NULL,
    event_timestamp timestamp with time zone NOT NULL,
    event_id text NOT NULL,
    account_no integer NOT NULL,
    account_type text DEFAULT ''::text NOT NULL,
    total_equity numeric,
    total_wallet_balance numeric,
    total_margin_balance numeric,
    total_available_balance numeric,
    total_perp_upl numeric,
    total_initial_margin numeric,
    total_maintenance_margin numeric,
    total_initial_margin_by_mp numeric,
    total_maintenance_margin_by_mp numeric,
    account_im_rate numeric,
    account_mm_rate numeric,
    account_im_rate_by_mp numeric,
    account_mm_rate_by_mp numeric,
    account_ltv numeric,
    received_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    trace_id text,
    origin text NOT NULL,
    anomalies text[] DEFAULT '{}'::text[] NOT NULL,
    raw json NOT NULL
);
CREATE TABLE public.account_margin_balances_2027_01 (
    id bigint NOT NULL,
    event_timestamp timestamp with time zone NOT NULL,
    event_id text NOT NULL,
    account_no integer NOT NULL,
    account_type text DEFAULT ''::text NOT NULL,
    total_equity numeric,
    total_wallet_balance numeric,
    total_margin_balance numeric,
    total_available_balance numeric,
    total_perp_upl numeric,
    total_initial_margin numeric,
    total_maintenance_margin numeric,
    total_initial_margin_by_mp numeric,
    total_maintenance_margin_by_mp numeric,
    account_im_rate numeric,
    account_mm_rate numeric,
    account_im_rate_by_mp numeric,
    account_mm_rate_by_mp numeric,
    account_ltv numeric,
    received_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    trace_id text,
    origin text NOT NULL,
    anomalies text[] DEFAULT '{}'::text[] NOT NULL,
    raw json NOT NULL
);
CREATE TABLE public.account_margin_balances_default (
    id bigint NOT NULL,
    event_timestamp timestamp with time zone NOT NULL,
    event_id text NOT NULL,
    account_no integer NOT NULL,
    account_type text DEFAULT ''::text NOT NULL,
    total_equity numeric,
    total_wallet_balance numeric,
    total_margin_balance numeric,
    total_available_balance numeric,
    total_perp_upl numeric,
    total_initial_margin numeric,
    total_maintenance_margin numeric,
    total_initial_margin_by_mp numeric,
    total_maintenance_margin_by_mp numeric,
    account_im_rate numeric,
    account_mm_rate numeric,
    account_im_rate_by_mp numeric,
    account_mm_rate_by_mp numeric,
    account_ltv numeric,
    received_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    trace_id text,
    origin text NOT NULL,
    anomalies text[] DEFAULT '{}'::text[] NOT NULL,
    raw json NOT NULL
);
ALTER TABLE public.account_margin_balances ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.account_margin_balances_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.api_keys (
    id uuid NOT NULL,
    service text NOT NULL,
    digest bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    last_used_at timestamp with time zone,
    revoked_at timestamp with time zone
);
CREATE TABLE public.balance_audits (
    id bigint NOT NULL,
    event_id text NOT NULL,
    requested_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT now() NOT NULL,
    outcome text NOT NULL,
    coins integer NOT NULL,
    drifts jsonb NOT NULL,
    trace_id text
);
COMMENT ON COLUMN public.balance_audits.event_id IS 'the snapshot that was compared';
COMMENT ON COLUMN public.balance_audits.requested_at IS 'exchange clock: the version of the snapshot';
COMMENT ON COLUMN public.balance_audits.outcome IS 'proven, unconfirmed, drift or empty';
ALTER TABLE public.balance_audits ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.balance_audits_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.balance_syncs (
    id uuid NOT NULL,
    requested_by text NOT NULL,
    requested_at timestamp with time zone DEFAULT now() NOT NULL,
    trace_id text,
    due_at timestamp with time zone DEFAULT now() NOT NULL,
    snapshots text[] DEFAULT '{}'::text[] NOT NULL,
    coins integer,
    changes jsonb DEFAULT '[]'::jsonb NOT NULL,
    done_at timestamp with time zone,
    outcome text,
    reason text
);
COMMENT ON COLUMN public.balance_syncs.requested_by IS 'api, or persister for the second look at a difference';
COMMENT ON COLUMN public.balance_syncs.due_at IS 'not to be fetched earlier';
COMMENT ON COLUMN public.balance_syncs.snapshots IS 'event ids of what was fetched';
COMMENT ON COLUMN public.balance_syncs.changes IS 'what was corrected in the ledger';
COMMENT ON COLUMN public.balance_syncs.outcome IS 'proven, drift, unconfirmed, empty or failed, once it is done';
COMMENT ON COLUMN public.balance_syncs.reason IS 'why it failed';
CREATE TABLE public.connections (
    epoch text NOT NULL,
    endpoint text NOT NULL,
    socket_no integer NOT NULL,
    state text NOT NULL,
    since timestamp with time zone NOT NULL,
    attempts integer NOT NULL,
    last_error text,
    rtt_ms double precision,
    clock_offset_ms double precision,
    last_heartbeat_at timestamp with time zone,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.gaps (
    id bigint NOT NULL,
    endpoint text NOT NULL,
    topic text NOT NULL,
    opened timestamp with time zone NOT NULL,
    closed timestamp with time zone,
    cause text NOT NULL,
    ids jsonb DEFAULT '{}'::jsonb NOT NULL,
    healed text
);
COMMENT ON COLUMN public.gaps.ids IS 'last_id before, first_id after';
COMMENT ON COLUMN public.gaps.healed IS 'yes, in part or no, once it is closed';
ALTER TABLE public.gaps ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.gaps_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.ingestors (
    epoch text NOT NULL,
    host text NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    heartbeat_at timestamp with time zone DEFAULT now() NOT NULL,
    role text NOT NULL,
    generation bigint NOT NULL,
    broker_connected boolean NOT NULL,
    broker_since timestamp with time zone NOT NULL,
    broker_reason text DEFAULT ''::text NOT NULL,
    lanes jsonb DEFAULT '{}'::jsonb NOT NULL,
    disk_trouble text,
    disk_since timestamp with time zone
);
COMMENT ON COLUMN public.ingestors.role IS 'leader, standby or left';
COMMENT ON COLUMN public.ingestors.generation IS 'the newest change of subscriptions that is carried out';
COMMENT ON COLUMN public.ingestors.lanes IS 'what waits in each for its confirm';
COMMENT ON COLUMN public.ingestors.disk_trouble IS 'why the spool takes no events, NULL when it does';
COMMENT ON COLUMN public.ingestors.disk_since IS 'since when it does not';
CREATE TABLE public.instruments (
    category text NOT NULL,
    symbol text NOT NULL,
    base_coin text NOT NULL,
    quote_coin text NOT NULL,
    status text NOT NULL,
    observed_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.latest_account_balances (
    id bigint NOT NULL,
    event_timestamp timestamp with time zone NOT NULL,
    event_id text NOT NULL,
    account_no integer NOT NULL,
    coin text NOT NULL,
    coin_no integer NOT NULL,
    account_type text DEFAULT ''::text NOT NULL,
    wallet_balance numeric,
    available_balance numeric,
    frozen numeric,
    equity numeric,
    usd_value numeric,
    locked numeric,
    spot_hedging_qty numeric,
    bonus numeric,
    borrow_amount numeric,
    spot_borrow numeric,
    accrued_interest numeric,
    total_order_im numeric,
    total_position_im numeric,
    total_position_mm numeric,
    unrealised_pnl numeric,
    cum_realised_pnl numeric,
    available_to_withdraw numeric,
    available_to_borrow numeric,
    free numeric,
    col_res text,
    collateral_switch boolean,
    margin_collateral boolean,
    received_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    trace_id text,
    origin text NOT NULL,
    anomalies text[] DEFAULT '{}'::text[] NOT NULL
)
WITH (fillfactor='50');
COMMENT ON COLUMN public.latest_account_balances.id IS 'rises in order of arrival';
COMMENT ON COLUMN public.latest_account_balances.event_timestamp IS 'creationTime; received_at where Bybit gave none';
COMMENT ON COLUMN public.latest_account_balances.account_no IS 'place in the message''s data';
COMMENT ON COLUMN public.latest_account_balances.coin_no IS 'place in the account''s coin list; -1: not listed, so zero';
COMMENT ON COLUMN public.latest_account_balances.account_type IS 'empty where Bybit named none';
CREATE TABLE public.latest_account_margin_balances (
    id bigint NOT NULL,
    event_timestamp timestamp with time zone NOT NULL,
    event_id text NOT NULL,
    account_no integer NOT NULL,
    account_type text DEFAULT ''::text NOT NULL,
    total_equity numeric,
    total_wallet_balance numeric,
    total_margin_balance numeric,
    total_available_balance numeric,
    total_perp_upl numeric,
    total_initial_margin numeric,
    total_maintenance_margin numeric,
    total_initial_margin_by_mp numeric,
    total_maintenance_margin_by_mp numeric,
    account_im_rate numeric,
    account_mm_rate numeric,
    account_im_rate_by_mp numeric,
    account_mm_rate_by_mp numeric,
    account_ltv numeric,
    received_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    trace_id text,
    origin text NOT NULL,
    anomalies text[] DEFAULT '{}'::text[] NOT NULL
)
WITH (fillfactor='50');
COMMENT ON COLUMN public.latest_account_margin_balances.id IS 'rises in order of arrival';
COMMENT ON COLUMN public.latest_account_margin_balances.event_timestamp IS 'creationTime; received_at where Bybit gave none';
COMMENT ON COLUMN public.latest_account_margin_balances.account_no IS 'place in the message''s data';
COMMENT ON COLUMN public.latest_account_margin_balances.account_type IS 'empty where Bybit named none';
CREATE TABLE public.queues (
    name text NOT NULL,
    class text NOT NULL,
    service text,
    ready bigint,
    consumers integer,
    publish_rate double precision,
    net_rate double precision,
    unused_since timestamp with time zone,
    alarm text,
    reason text,
    observed_at timestamp with time zone DEFAULT now() NOT NULL,
    consume_rate double precision,
    oldest_at timestamp with time zone,
    nobody_since timestamp with time zone,
    other_arguments boolean DEFAULT false NOT NULL
);
COMMENT ON COLUMN public.queues.alarm IS 'warning or critical, NULL when all is well';
COMMENT ON COLUMN public.queues.reason IS 'why there is an alarm';
COMMENT ON COLUMN public.queues.oldest_at IS 'when the oldest ready message was published';
COMMENT ON COLUMN public.queues.nobody_since IS 'since when nobody reads it, as far as the ingestor saw';
COMMENT ON COLUMN public.queues.other_arguments IS 'than the settings ask for';
CREATE SEQUENCE public.subscription_generation
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
CREATE TABLE public.subscriptions (
    id uuid NOT NULL,
    channel_type text NOT NULL,
    category text NOT NULL,
    symbol text,
    endpoint text NOT NULL,
    topic text NOT NULL,
    routing_key text NOT NULL,
    requesting_service text NOT NULL,
    params jsonb DEFAULT '{}'::jsonb NOT NULL,
    is_active boolean NOT NULL,
    ended text,
    generation bigint NOT NULL,
    trace_id text,
    expires_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT ck_subscriptions_ended_when_not_active CHECK ((is_active = (ended IS NULL)))
);
COMMENT ON COLUMN public.subscriptions.ended IS 'cancelled or expired, once it is not active';
COMMENT ON COLUMN public.subscriptions.trace_id IS 'of the request that last changed the row';
CREATE TABLE public.topics (
    endpoint text NOT NULL,
    topic text NOT NULL,
    channel_type text NOT NULL,
    state text NOT NULL,
    reason text,
    epoch text NOT NULL,
    acked_at timestamp with time zone,
    last_event_at timestamp with time zone,
    events bigint NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
)
WITH (fillfactor='50');
ALTER TABLE ONLY public.account_balances ATTACH PARTITION public.account_balances_2026_11 FOR VALUES FROM ('2026-11-01 00:00:00+00') TO ('2026-12-01 00:00:00+00');
ALTER TABLE ONLY public.account_balances ATTACH PARTITION public.account_balances_2026_12 FOR VALUES FROM ('2026-12-01 00:00:00+00') TO ('2027-01-01 00:00:00+00');
ALTER TABLE ONLY public.account_balances ATTACH PARTITION public.account_balances_2027_01 FOR VALUES FROM ('2027-01-01 00:00:00+00') TO ('2027-02-01 00:00:00+00');
ALTER TABLE ONLY public.account_balances ATTACH PARTITION public.account_balances_default DEFAULT;
ALTER TABLE ONLY public.account_margin_balances ATTACH PARTITION public.account_margin_balances_2026_11 FOR VALUES FROM ('2026-11-01 00:00:00+00') TO ('2026-12-01 00:00:00+00');
ALTER TABLE ONLY public.account_margin_balances ATTACH PARTITION public.account_margin_balances_2026_12 FOR VALUES FROM ('2026-12-01 00:00:00+00') TO ('2027-01-01 00:00:00+00');
ALTER TABLE ONLY public.account_margin_balances ATTACH PARTITION public.account_margin_balances_2027_01 FOR VALUES FROM ('2027-01-01 00:00:00+00') TO ('2027-02-01 00:00:00+00');
ALTER TABLE ONLY public.account_margin_balances ATTACH PARTITION public.account_margin_balances_default DEFAULT;
INSERT INTO public.account_balances_2026_11 VALUES (2, '2026-11-20 10:00:00+00', 'balance-november', 0, 'USDT', 0, 'UNIFIED', 100.000000000000000001, NULL, NULL, 100.000000000000000001, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-11-20 10:00:00.1+00', '2026-11-20 10:00:00.2+00', NULL, 'live', '{}', '{"coin":"USDT","walletBalance":"100.000000000000000001","equity":"100.000000000000000001","locked":"0"}');
INSERT INTO public.account_balances_2026_11 VALUES (3, '2026-11-20 10:00:00+00', 'balance-november', 0, 'BTC', 1, 'UNIFIED', -0.25, NULL, NULL, -0.25, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-11-20 10:00:00.1+00', '2026-11-20 10:00:00.2+00', NULL, 'live', '{}', '{"coin":"BTC","walletBalance":"-0.25","equity":"-0.25","locked":"0"}');
INSERT INTO public.account_balances_2026_12 VALUES (4, '2026-12-02 10:00:00+00', 'balance-december', 0, 'USDT', 0, 'UNIFIED', 101, NULL, NULL, 101, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-12-02 10:00:00.1+00', '2026-12-02 10:00:00.2+00', NULL, 'snapshot', '{}', '{"coin":"USDT","walletBalance":"101","equity":"101","locked":"0"}');
INSERT INTO public.account_balances_default VALUES (1, '2026-03-29 10:15:51.206+00', 'balance-march', 0, 'USDT', 0, 'UNIFIED', 99.5, NULL, NULL, 99.5, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-03-29 10:15:51.3+00', '2026-03-29 10:15:51.4+00', NULL, 'live', '{}', '{"coin":"USDT","walletBalance":"99.5","equity":"99.5","locked":"0"}');
INSERT INTO public.account_margin_balances_2026_11 VALUES (2, '2026-11-20 10:00:00+00', 'balance-november', 0, 'UNIFIED', 75, 75, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-11-20 10:00:00.1+00', '2026-11-20 10:00:00.2+00', NULL, 'live', '{}', '{"accountType":"UNIFIED","totalEquity":"75"}');
INSERT INTO public.account_margin_balances_default VALUES (1, '2026-03-29 10:15:51.206+00', 'balance-march', 0, 'UNIFIED', 99.5, 99.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-03-29 10:15:51.3+00', '2026-03-29 10:15:51.4+00', NULL, 'live', '{}', '{"accountType":"UNIFIED","totalEquity":"99.5"}');
INSERT INTO public.alembic_version VALUES ('0003');
INSERT INTO public.api_keys VALUES ('00000000-0000-4000-8000-00000000000a', 'model', '\xbd58138d0f0c9316b099e3586e1706ebb432c1b58f5d9666a26fde66143cacaf', '2026-11-20 09:00:00+00', NULL, NULL, NULL);
INSERT INTO public.api_keys VALUES ('00000000-0000-4000-8000-00000000000b', 'model', '\x7020a39482a47194fb05122dfae8886e248bca402ac5fa17f8edee9ae0f4f7d9', '2026-11-19 09:00:00+00', NULL, NULL, '2026-11-20 09:00:00+00');
INSERT INTO public.balance_audits OVERRIDING SYSTEM VALUE VALUES (1, 'balance-december', '2026-12-02 10:00:00+00', '2026-12-02 10:00:01+00', 'proven', 1, '[]', NULL);
INSERT INTO public.balance_syncs VALUES ('00000000-0000-4000-8000-00000000000c', 'api', '2026-11-20 10:00:00+00', NULL, '2026-11-20 10:00:00+00', '{balance-november}', 2, '[]', '2026-11-20 10:00:02+00', 'proven', NULL);
INSERT INTO public.connections VALUES ('01KAE00000000000000000EPCH', 'linear', 0, 'live', '2026-11-20 10:00:00+00', 1, NULL, 12.5, -3.25, '2026-11-20 12:00:00+00', '2026-11-20 12:00:00+00');
INSERT INTO public.gaps OVERRIDING SYSTEM VALUE VALUES (1, 'linear', 'publicTrade.BTCUSDT', '2026-11-20 10:30:00+00', '2026-11-20 10:30:02+00', 'connection_lost', '{"last_id": "a", "first_id": "b"}', 'yes');
INSERT INTO public.gaps OVERRIDING SYSTEM VALUE VALUES (2, 'linear', 'publicTrade.BTCUSDT', '2026-11-20 12:00:00+00', NULL, 'restart', '{"last_id": "c"}', NULL);
INSERT INTO public.ingestors VALUES ('01KAE00000000000000000EPCH', 'old-host', '2026-11-20 09:59:00+00', '2026-11-20 12:00:00+00', 'left', 5, true, '2026-11-20 09:59:01+00', '', '{"market": {"spooled": 0, "in_flight": 0}, "private": {"spooled": 0, "in_flight": 0}}', NULL, NULL);
INSERT INTO public.instruments VALUES ('linear', 'BTCUSDT', 'BTC', 'USDT', 'Trading', '2026-11-20 10:00:00+00');
INSERT INTO public.instruments VALUES ('spot', 'ETHUSDT', 'ETH', 'USDT', 'Trading', '2026-11-20 10:00:00+00');
INSERT INTO public.latest_account_balances VALUES (3, '2026-11-20 10:00:00+00', 'balance-november', 0, 'BTC', 1, 'UNIFIED', -0.25, NULL, NULL, -0.25, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-11-20 10:00:00.1+00', '2026-11-20 10:00:00.2+00', NULL, 'live', '{}');
INSERT INTO public.latest_account_balances VALUES (4, '2026-12-02 10:00:00+00', 'balance-december', 0, 'USDT', 0, 'UNIFIED', 101, NULL, NULL, 101, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-12-02 10:00:00.1+00', '2026-12-02 10:00:00.2+00', NULL, 'snapshot', '{}');
INSERT INTO public.latest_account_margin_balances VALUES (2, '2026-11-20 10:00:00+00', 'balance-november', 0, 'UNIFIED', 75, 75, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-11-20 10:00:00.1+00', '2026-11-20 10:00:00.2+00', NULL, 'live', '{}');
INSERT INTO public.queues VALUES ('ws-gateway.trades.model', 'trades', 'model', 17, 1, 2.5, 0.5, NULL, NULL, NULL, '2026-11-20 12:00:00+00', NULL, NULL, NULL, false);
INSERT INTO public.queues VALUES ('ws-gateway.trades', 'trades', NULL, 100, 0, 2.5, 2.5, NULL, 'warning', 'nobody reads it', '2026-11-20 12:00:00+00', NULL, NULL, '2026-11-20 10:00:00+00', true);
INSERT INTO public.subscriptions VALUES ('00000000-0000-4000-8000-000000000001', 'trades', 'linear', 'BTCUSDT', 'linear', 'publicTrade.BTCUSDT', 'trades.linear.BTCUSDT', 'model', '{}', true, NULL, 1, '0af7651916cd43dd8448eb211c80319c', NULL, '2026-11-20 10:00:00+00', '2026-11-20 10:00:00+00');
INSERT INTO public.subscriptions VALUES ('00000000-0000-4000-8000-000000000002', 'orderbook', 'spot', 'ETHUSDT', 'spot', 'orderbook.50.ETHUSDT', 'orderbook.spot.ETHUSDT.50', 'model', '{"depth": 50}', true, NULL, 2, NULL, '2099-01-01 00:00:00+00', '2026-11-20 10:00:01+00', '2026-11-20 10:00:01+00');
INSERT INTO public.subscriptions VALUES ('00000000-0000-4000-8000-000000000003', 'order', 'private', NULL, 'private', 'order', 'order.private', 'order-manager', '{}', true, NULL, 3, NULL, NULL, '2026-11-20 10:00:02+00', '2026-11-20 10:00:02+00');
INSERT INTO public.subscriptions VALUES ('00000000-0000-4000-8000-000000000004', 'kline', 'linear', 'BTCUSDT', 'linear', 'kline.1.BTCUSDT', 'kline.linear.BTCUSDT.1', 'model', '{"interval": "1"}', false, 'cancelled', 4, NULL, NULL, '2026-11-19 10:00:00+00', '2026-11-20 11:00:00+00');
INSERT INTO public.subscriptions VALUES ('00000000-0000-4000-8000-000000000005', 'ticker', 'linear', 'ETHUSDT', 'linear', 'tickers.ETHUSDT', 'ticker.linear.ETHUSDT', 'model', '{}', false, 'expired', 5, NULL, '2026-11-20 11:00:00+00', '2026-11-20 10:00:00+00', '2026-11-20 11:00:05+00');
INSERT INTO public.topics VALUES ('linear', 'publicTrade.BTCUSDT', 'trades', 'live', NULL, '01KAE00000000000000000EPCH', '2026-11-20 10:00:01+00', '2026-11-20 12:00:00+00', 1842, '2026-11-20 12:00:00+00');
INSERT INTO public.topics VALUES ('private', 'order', 'order', 'rejected', 'params error', '01KAE00000000000000000EPCH', NULL, NULL, 0, '2026-11-20 12:00:00+00');
SELECT pg_catalog.setval('public.account_balances_id_seq', 4, true);
SELECT pg_catalog.setval('public.account_margin_balances_id_seq', 2, true);
SELECT pg_catalog.setval('public.balance_audits_id_seq', 1, true);
SELECT pg_catalog.setval('public.gaps_id_seq', 2, true);
SELECT pg_catalog.setval('public.subscription_generation', 5, true);
ALTER TABLE ONLY public.account_balances
    ADD CONSTRAINT pk_account_balances PRIMARY KEY (event_timestamp, event_id, account_no, coin, coin_no);
ALTER TABLE ONLY public.account_balances_2026_11
    ADD CONSTRAINT account_balances_2026_11_pkey PRIMARY KEY (event_timestamp, event_id, account_no, coin, coin_no);
ALTER TABLE ONLY public.account_balances_2026_12
    ADD CONSTRAINT account_balances_2026_12_pkey PRIMARY KEY (event_timestamp, event_id, account_no, coin, coin_no);
ALTER TABLE ONLY public.account_balances_2027_01
    ADD CONSTRAINT account_balances_2027_01_pkey PRIMARY KEY (event_timestamp, event_id, account_no, coin, coin_no);
ALTER TABLE ONLY public.account_balances_default
    ADD CONSTRAINT account_balances_default_pkey PRIMARY KEY (event_timestamp, event_id, account_no, coin, coin_no);
ALTER TABLE ONLY public.account_margin_balances
    ADD CONSTRAINT pk_account_margin_balances PRIMARY KEY (event_timestamp, event_id, account_no);
ALTER TABLE ONLY public.account_margin_balances_2026_11
    ADD CONSTRAINT account_margin_balances_2026_11_pkey PRIMARY KEY (event_timestamp, event_id, account_no);
ALTER TABLE ONLY public.account_margin_balances_2026_12
    ADD CONSTRAINT account_margin_balances_2026_12_pkey PRIMARY KEY (event_timestamp, event_id, account_no);
ALTER TABLE ONLY public.account_margin_balances_2027_01
    ADD CONSTRAINT account_margin_balances_2027_01_pkey PRIMARY KEY (event_timestamp, event_id, account_no);
ALTER TABLE ONLY public.account_margin_balances_default
    ADD CONSTRAINT account_margin_balances_default_pkey PRIMARY KEY (event_timestamp, event_id, account_no);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT pk_api_keys PRIMARY KEY (id);
ALTER TABLE ONLY public.balance_audits
    ADD CONSTRAINT pk_balance_audits PRIMARY KEY (id);
ALTER TABLE ONLY public.balance_syncs
    ADD CONSTRAINT pk_balance_syncs PRIMARY KEY (id);
ALTER TABLE ONLY public.connections
    ADD CONSTRAINT pk_connections PRIMARY KEY (epoch, endpoint, socket_no);
ALTER TABLE ONLY public.gaps
    ADD CONSTRAINT pk_gaps PRIMARY KEY (id);
ALTER TABLE ONLY public.ingestors
    ADD CONSTRAINT pk_ingestors PRIMARY KEY (epoch);
ALTER TABLE ONLY public.instruments
    ADD CONSTRAINT pk_instruments PRIMARY KEY (category, symbol);
ALTER TABLE ONLY public.latest_account_balances
    ADD CONSTRAINT pk_latest_account_balances PRIMARY KEY (coin, account_type);
ALTER TABLE ONLY public.latest_account_margin_balances
    ADD CONSTRAINT pk_latest_account_margin_balances PRIMARY KEY (account_type);
ALTER TABLE ONLY public.queues
    ADD CONSTRAINT pk_queues PRIMARY KEY (name);
ALTER TABLE ONLY public.subscriptions
    ADD CONSTRAINT pk_subscriptions PRIMARY KEY (id);
ALTER TABLE ONLY public.topics
    ADD CONSTRAINT pk_topics PRIMARY KEY (endpoint, topic);
CREATE INDEX ix_account_balances_coin ON ONLY public.account_balances USING btree (coin, account_type, event_timestamp, id);
CREATE INDEX account_balances_2026_11_coin_account_type_event_timestamp__idx ON public.account_balances_2026_11 USING btree (coin, account_type, event_timestamp, id);
CREATE INDEX account_balances_2026_12_coin_account_type_event_timestamp__idx ON public.account_balances_2026_12 USING btree (coin, account_type, event_timestamp, id);
CREATE INDEX account_balances_2027_01_coin_account_type_event_timestamp__idx ON public.account_balances_2027_01 USING btree (coin, account_type, event_timestamp, id);
CREATE INDEX account_balances_default_coin_account_type_event_timestamp__idx ON public.account_balances_default USING btree (coin, account_type, event_timestamp, id);
CREATE INDEX ix_account_margin_balances_account_type ON ONLY public.account_margin_balances USING btree (account_type, event_timestamp, id);
CREATE INDEX account_margin_balances_2026__account_type_event_timestamp__idx ON public.account_margin_balances_2026_11 USING btree (account_type, event_timestamp, id);
CREATE INDEX account_margin_balances_2026__account_type_event_timestamp_idx1 ON public.account_margin_balances_2026_12 USING btree (account_type, event_timestamp, id);
CREATE INDEX account_margin_balances_2027__account_type_event_timestamp__idx ON public.account_margin_balances_2027_01 USING btree (account_type, event_timestamp, id);
CREATE INDEX account_margin_balances_defau_account_type_event_timestamp__idx ON public.account_margin_balances_default USING btree (account_type, event_timestamp, id);
CREATE INDEX ix_api_keys_service ON public.api_keys USING btree (service);
CREATE INDEX ix_balance_audits_recorded ON public.balance_audits USING btree (recorded_at);
CREATE INDEX ix_balance_syncs_waiting ON public.balance_syncs USING btree (due_at) WHERE (done_at IS NULL);
CREATE INDEX ix_gaps_opened ON public.gaps USING btree (opened);
CREATE INDEX ix_instruments_base_coin ON public.instruments USING btree (category, base_coin);
CREATE INDEX ix_subscriptions_active_topic ON public.subscriptions USING btree (endpoint, topic) WHERE is_active;
CREATE INDEX ix_subscriptions_ended ON public.subscriptions USING btree (requesting_service, channel_type, updated_at);
CREATE INDEX ix_subscriptions_expires ON public.subscriptions USING btree (expires_at) WHERE (is_active AND (expires_at IS NOT NULL));
CREATE INDEX ix_subscriptions_listed ON public.subscriptions USING btree (created_at, id);
CREATE UNIQUE INDEX uq_api_keys_digest ON public.api_keys USING btree (digest);
CREATE UNIQUE INDEX uq_balance_audits_event_id ON public.balance_audits USING btree (event_id);
CREATE UNIQUE INDEX uq_gaps_window ON public.gaps USING btree (endpoint, topic, opened);
CREATE UNIQUE INDEX uq_subscriptions_active ON public.subscriptions USING btree (requesting_service, endpoint, topic) WHERE is_active;
ALTER INDEX public.ix_account_balances_coin ATTACH PARTITION public.account_balances_2026_11_coin_account_type_event_timestamp__idx;
ALTER INDEX public.pk_account_balances ATTACH PARTITION public.account_balances_2026_11_pkey;
ALTER INDEX public.ix_account_balances_coin ATTACH PARTITION public.account_balances_2026_12_coin_account_type_event_timestamp__idx;
ALTER INDEX public.pk_account_balances ATTACH PARTITION public.account_balances_2026_12_pkey;
ALTER INDEX public.ix_account_balances_coin ATTACH PARTITION public.account_balances_2027_01_coin_account_type_event_timestamp__idx;
ALTER INDEX public.pk_account_balances ATTACH PARTITION public.account_balances_2027_01_pkey;
ALTER INDEX public.ix_account_balances_coin ATTACH PARTITION public.account_balances_default_coin_account_type_event_timestamp__idx;
ALTER INDEX public.pk_account_balances ATTACH PARTITION public.account_balances_default_pkey;
ALTER INDEX public.pk_account_margin_balances ATTACH PARTITION public.account_margin_balances_2026_11_pkey;
ALTER INDEX public.pk_account_margin_balances ATTACH PARTITION public.account_margin_balances_2026_12_pkey;
ALTER INDEX public.ix_account_margin_balances_account_type ATTACH PARTITION public.account_margin_balances_2026__account_type_event_timestamp__idx;
ALTER INDEX public.ix_account_margin_balances_account_type ATTACH PARTITION public.account_margin_balances_2026__account_type_event_timestamp_idx1;
ALTER INDEX public.pk_account_margin_balances ATTACH PARTITION public.account_margin_balances_2027_01_pkey;
ALTER INDEX public.ix_account_margin_balances_account_type ATTACH PARTITION public.account_margin_balances_2027__account_type_event_timestamp__idx;
ALTER INDEX public.ix_account_margin_balances_account_type ATTACH PARTITION public.account_margin_balances_defau_account_type_event_timestamp__idx;
ALTER INDEX public.pk_account_margin_balances ATTACH PARTITION public.account_margin_balances_default_pkey;
CREATE TRIGGER keep_latest AFTER INSERT ON public.account_balances REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION public.keep_latest_account_balances();
CREATE TRIGGER keep_latest AFTER INSERT ON public.account_margin_balances REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION public.keep_latest_account_margin_balances();
