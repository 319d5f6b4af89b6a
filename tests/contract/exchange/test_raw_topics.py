"""Topics that have no channel type of their own are delivered as they come."""

from tests.contract.exchange.conftest import World
from tests.kit.waiting import eventually

ODDS = "event.ticker.all.BTC.UpDown"


def test_of_the_event_endpoint_flow(world: World):
    world.want("event", ODDS)
    world.flows(ODDS, more=2)
    event = world.live(ODDS)[0]
    assert (event["source"], event["type"], event["data"]["topic"]) == ("/bybit/simulator/event", "bybit.raw", ODDS)


def test_of_event_contracts_are_acknowledged_beside_the_private_ones(world: World):
    topics = ("order", "order.event", "execution.event", "position.event")
    world.want("private", *topics)

    def states() -> dict[str, str]:
        return {each.channel.topic: each.state for held in world.pool.observed() for each in held.topics}

    eventually(lambda: states() == dict.fromkeys(topics, "live"), 10, "all are live")
    world.flows("order", more=1)
