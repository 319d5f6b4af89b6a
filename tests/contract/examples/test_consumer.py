"""The consumer that people copy, against a real RabbitMQ."""

import threading

import pytest

from tests.contract.examples.feed import EPOCH, TOPIC, Feed, Reading
from tests.kit.proxy import Proxy
from tests.kit.servers import Broker, RabbitMQ
from tests.kit.waiting import eventually


@pytest.fixture
def feed(broker: Broker) -> Feed:
    made = Feed(broker)
    made.make_queue()
    return made


def test_events_are_handled_in_sequence_and_leave_the_queue(feed: Feed, broker: Broker):
    feed.publish(*range(1, 501))
    with Reading(broker.url()) as reading:
        eventually(lambda: len(reading.numbers) == 500, 20, "all events are handled")
    assert reading.numbers == list(range(1, 501))
    assert feed.left() == 0
    assert reading.lost == []


def test_an_event_whose_handler_fails_is_delivered_again_first(feed: Feed, broker: Broker):
    def fail_at_three(event: dict[str, str]) -> None:
        if int(event["sequence"]) == 3:
            raise ArithmeticError("no")

    feed.publish(*range(1, 11))
    with Reading(broker.url(), fail_at_three) as failing:
        eventually(lambda: failing.raised, 20, "consume raises what the work raised")
    assert failing.numbers == [1, 2]
    with Reading(broker.url()) as healthy:
        eventually(lambda: len(healthy.numbers) == 8, 20, "the others are handled")
    assert healthy.numbers == list(range(3, 11))


def test_a_connection_lost_between_work_and_ack_repeats_no_work(feed: Feed, broker: Broker):
    with Proxy(broker.host, broker.port) as proxy:
        cut = threading.Event()

        def cut_at_five(event: dict[str, str]) -> None:
            if int(event["sequence"]) == 5 and not cut.is_set():
                cut.set()
                proxy.reset()

        feed.publish(*range(1, 301))
        with Reading(through(proxy, broker), cut_at_five) as reading:
            eventually(lambda: len(reading.numbers) >= 300, 30, "all events are handled")
    assert cut.is_set()
    assert reading.numbers == list(range(1, 301))
    assert feed.left() == 0


def test_what_the_gateway_sends_twice_is_handled_once(feed: Feed, broker: Broker):
    feed.publish(1, 2, 3, 2, 3, 4)
    with Reading(broker.url(), patience_s=0) as reading:
        eventually(lambda: 4 in reading.numbers, 20, "the last event is handled")
    assert reading.numbers == [1, 2, 3, 4]
    assert reading.lost == []


def test_a_hole_is_reported_and_what_fills_it_is_handled(feed: Feed, broker: Broker):
    feed.publish(7, 8, 12, 10)
    with Reading(broker.url(), patience_s=3) as reading:  # long enough for all four to arrive
        eventually(lambda: len(reading.lost) >= 2, 20, "the loss is reported")
    assert reading.numbers == [7, 8, 12, 10]
    assert [lost[2:] for lost in sorted(reading.lost)] == [(9, 9), (11, 11)]
    assert {lost[:2] for lost in reading.lost} == {(TOPIC, EPOCH)}


def test_a_gap_is_reported_and_counts_in_the_sequence(feed: Feed, broker: Broker):
    feed.publish(1)
    feed.publish(2, kind="bybit.gap")
    feed.publish(3)
    with Reading(broker.url(), patience_s=0) as reading:
        eventually(lambda: 3 in reading.numbers, 20, "the event after the gap is handled")
    assert reading.numbers == [1, 3]
    assert [gap["type"] for gap in reading.gaps] == ["bybit.gap"]
    assert reading.lost == []


def test_a_second_instance_takes_over_where_the_first_died(feed: Feed, broker: Broker):
    at_forty = threading.Event()
    with Proxy(broker.host, broker.port) as proxy:

        def die_at_forty(event: dict[str, str]) -> None:
            if int(event["sequence"]) == 40:
                at_forty.set()
                proxy.stop()

        with Reading(through(proxy, broker), die_at_forty) as first:
            eventually(lambda: feed.consumers() == 1, 20, "the first instance reads")
            with Reading(broker.url()) as second:
                eventually(lambda: feed.consumers() == 2, 20, "the second instance waits")
                feed.publish(*range(1, 201))
                eventually(at_forty.is_set, 20, "the first instance dies")
                eventually(lambda: 200 in second.numbers, 30, "the second has read to the end")
    assert first.numbers == list(range(1, 41))
    assert second.numbers == list(range(second.numbers[0], 201))
    assert 2 <= second.numbers[0] <= 40  # 40 was done and not acked: the one repeat that only a store could recognise


def test_it_reads_on_after_a_restart_of_the_broker(own_rabbitmq: RabbitMQ):
    feed = Feed(own_rabbitmq.on())
    feed.make_queue()
    with Reading(own_rabbitmq.url()) as reading:
        feed.publish(*range(1, 101))
        eventually(lambda: len(reading.numbers) >= 10, 20, "some events are handled")
        own_rabbitmq.kill()
        own_rabbitmq.start()
        feed.publish(*range(101, 201))
        eventually(lambda: len(reading.numbers) >= 200, 60, "all events are handled")
    assert reading.numbers == list(range(1, 201))
    assert feed.left() == 0


def test_it_waits_for_its_queue_and_survives_its_deletion(broker: Broker):
    feed = Feed(broker)
    with Reading(broker.url()) as reading:
        feed.make_queue()
        feed.publish(1, 2)
        eventually(lambda: reading.numbers == [1, 2], 30, "it found the queue that came later")
        feed.delete_queue()
        feed.make_queue()
        feed.publish(3, 4)
        eventually(lambda: reading.numbers == [1, 2, 3, 4], 30, "it found the queue again")


def through(proxy: Proxy, broker: Broker) -> str:
    return broker.url().replace(f"{broker.host}:{broker.port}", f"{proxy.host}:{proxy.port}")
