"""Subscriptions in memory, read as those in Postgres are."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from common.errors import Unavailable
from common.tables.subscriptions import Changed, DesiredSubscription

BTC, ETH = "publicTrade.BTCUSDT", "publicTrade.ETHUSDT"
NOW = datetime.now(UTC)


def row(topic: str, generation: int) -> DesiredSubscription:
    return DesiredSubscription("model", "linear", topic, generation, None)


@dataclass
class FakePostgres:
    """Rows by topic; `reads` lists what was read of it."""

    rows: dict[str, Changed] = field(default_factory=dict)
    generation: int = 0
    applied: int = 0
    lease_ends_in_s: float | None = None
    available: bool = True
    fails_with: Exception | None = None  # once
    snapshots: int = 0
    expired: int = 0
    reads: list[str] = field(default_factory=list)
    in_transaction: bool = False

    def put(self, *topics: str) -> None:
        for topic in topics:
            self.generation += 1
            self.rows[topic] = Changed(row(topic, self.generation), None)

    def end(self, topic: str) -> None:
        self.generation += 1
        self.rows[topic] = Changed(row(topic, self.generation), NOW)

    def read(self) -> list[str]:
        reads, self.reads = self.reads, []
        return reads

    # -- as the store

    def expire(self) -> None:
        self.expired += 1

    @contextmanager
    def snapshot(self) -> Iterator["FakePostgres"]:
        self.snapshots += 1
        if self.fails_with is not None:
            error, self.fails_with = self.fails_with, None
            raise error
        if not self.available:
            raise Unavailable("connection refused")
        self.in_transaction = True
        yield self
        self.in_transaction = False

    # -- as the snapshot

    def last_generation(self) -> int:
        return self.generation

    def changed(self, after_generation: int, at_most: int) -> Sequence[Changed]:
        self.reads.append(f"changed after {after_generation}")
        changed = sorted(self.rows.values(), key=lambda each: each.subscription.generation)
        return [each for each in changed if each.subscription.generation > after_generation][:at_most]

    def active(self) -> Sequence[DesiredSubscription]:
        self.reads.append("active")
        return [each.subscription for each in self.rows.values() if each.ended_at is None]

    def unused(self) -> Sequence[tuple[str, str, datetime]]:
        return [("model", "trades", each.ended_at) for each in self.rows.values() if each.ended_at is not None]

    def ended(self, after_generation: int) -> Sequence[tuple[str, str, str]]:
        self.reads.append(f"ended after {after_generation}")
        ended = [each.subscription for each in self.rows.values() if each.ended_at is not None]
        return [(each.service, each.endpoint, each.topic) for each in ended if each.generation > after_generation]

    def applied_generation(self) -> int:
        return self.applied

    def continue_above(self, generation: int) -> None:
        self.generation = max(self.generation, generation)
        self.reads.append(f"continue above {generation}")

    def next_lease_ends_in_s(self) -> float | None:
        return self.lease_ends_in_s
