"""Commands of other threads."""

from typing import Any

import pytest

from common.channels import of_topic
from ingestor.sockets.mailbox import Command, Mailbox, Publish, Renew, RetryRejected, Subscribe, TopicDropped

BTC = of_topic("linear", "tickers.BTCUSDT")
MAKE: Any = "how it is made"


@pytest.fixture
def wakes() -> list[None]:
    return []


@pytest.fixture
def mailbox(wakes: list[None]) -> Mailbox:
    return Mailbox(lambda: wakes.append(None), max_commands=2)


def commands(mailbox: Mailbox) -> list[Command]:
    found: list[Command] = []
    while (command := mailbox.next()) is not None:
        found.append(command)
    return found


def test_commands_of_one_kind_replace_each_other(mailbox: Mailbox, wakes: list[None]):
    mailbox.replace(Subscribe(()))
    mailbox.replace(Renew(None))
    mailbox.replace(Subscribe((BTC,)))
    mailbox.replace(RetryRejected())
    assert commands(mailbox) == [Subscribe((BTC,)), Renew(None), RetryRejected()]
    assert len(wakes) == 4


def test_drops_of_a_topic_are_added_up(mailbox: Mailbox, wakes: list[None]):
    for drop in (TopicDropped("a", 2, 50), TopicDropped("b", 1, 70), TopicDropped("a", 3, 60)):
        mailbox.dropped(drop)
    assert commands(mailbox) == [TopicDropped("a", 5, 50), TopicDropped("b", 1, 70)]
    assert len(wakes) == 3
    mailbox.dropped(TopicDropped("a", 1, 80))
    assert commands(mailbox) == [TopicDropped("a", 1, 80)]


def test_other_commands_keep_their_order_and_are_refused_when_too_many_wait(mailbox: Mailbox, wakes: list[None]):
    first, second = Publish(BTC, MAKE), Publish(of_topic("linear", "tickers.ETHUSDT"), MAKE)
    assert mailbox.put(first)
    assert mailbox.put(second)
    assert not mailbox.put(first)
    assert len(wakes) == 2
    mailbox.replace(Subscribe(()))
    assert commands(mailbox) == [Subscribe(()), first, second]
    assert mailbox.put(first)
