"""A failure of our own in the thread of a connection."""

from common.channels import of_topic
from tests.contract.exchange.conftest import World

TICKER = "tickers.BTCUSDT"
BOOK = "orderbook.50.BTCUSDT"
ELSEWHERE = "tickers.ETHUSDT"


def test_is_a_gap_of_its_topics_and_then_they_flow_again(world: World):
    world.want("linear", TICKER, BOOK)
    world.flows(TICKER)
    world.flows(BOOK)
    world.events.fails_on = ["linear"]
    for topic in (TICKER, BOOK):
        gap = world.closed(topic)
        assert gap["cause"] == "internal error"
        assert gap["from"] < gap["to"]
        world.flows(topic)
    assert world.live(BOOK)[-1]["epoch"] == world.live(BOOK)[0]["epoch"]


def test_tells_what_it_may_have_missed_once_however_often_it_fails(world: World):
    world.want("linear", TICKER)
    world.flows(TICKER)
    world.events.fails_on = ["linear", "linear"]
    world.closed(TICKER)
    world.flows(TICKER)
    states = [event["data"]["state"] for event in world.events.of(TICKER) if event["type"] == "bybit.gap"]
    assert states in (
        ["closed"],
        ["open", "closed"],
    )  # the opening may have been what was lost


def test_leaves_other_connections_alone(world: World):
    world.allocation.want([of_topic("linear", TICKER), of_topic("spot", ELSEWHERE)])
    world.flows(TICKER)
    world.flows(ELSEWHERE)
    world.events.fails_on = ["linear"]
    world.closed(TICKER)
    world.flows(ELSEWHERE)
    world.assert_counted(ELSEWHERE)
    assert world.live(ELSEWHERE) == world.events.of(ELSEWHERE)


def test_of_the_private_connection_is_healed_from_what_the_exchange_remembers(world: World):
    world.want("private", "execution")
    world.flows("execution")
    world.events.fails_on = ["execution"]
    gap = world.closed("execution")
    assert (gap["cause"], gap["healed"]) == ("internal error", "yes")
    world.flows("execution")
