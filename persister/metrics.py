"""The metrics of the persister."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 60, 3600)

messages = Counter("wsgw_persister_messages", "Events taken from the queue, by outcome", ["outcome"])
rows = Counter("wsgw_persister_rows_written", "Rows added, by table", ["table"])
batch = Histogram("wsgw_persister_batch_messages", "Messages written together", buckets=(1, 2, 5, 10, 20, 50, 100))
write = Histogram("wsgw_persister_write_seconds", "Duration of a transaction", buckets=_SECONDS)
lag = Histogram("wsgw_persister_lag_seconds", "From the frame being read to its commit", buckets=_SECONDS)
consuming = Gauge("wsgw_persister_consuming", "1 while the queue is consumed and PostgreSQL answers")
committed_at = Gauge("wsgw_persister_last_commit_timestamp_seconds", "Time of the last commit")
anomalies = Counter("wsgw_persister_anomalies", "Rows that look inconsistent, by check", ["check"])
unknown_fields = Gauge("wsgw_persister_unknown_fields", "Fields of wallet messages that have no column")
comparisons = Counter("wsgw_persister_comparisons", "Snapshots compared with the ledger, by outcome", ["outcome"])
drifts = Counter("wsgw_persister_drifts", "Balances corrected after two agreeing snapshots, by kind", ["kind"])
