"""What a next start would know of an endpoint."""

from tests.contract.exchange.conftest import World

TOPIC = "tickers.BTCUSDT"


def test_an_endpoint_is_in_the_checkpoint_before_its_first_event(world: World):
    world.want("linear", TOPIC)
    world.flows(TOPIC)
    [(checkpoint, events)] = world.checkpoints
    assert list(checkpoint.well_ns) == ["linear"]
    assert events == 0


def test_an_endpoint_that_is_live_again_is_in_the_checkpoint_again(world: World):
    world.want("linear", TOPIC)
    world.flows(TOPIC)
    world.control("abort", endpoint="linear")
    world.closed(TOPIC)
    assert [list(checkpoint.well_ns) for checkpoint, _ in world.checkpoints] == [["linear"]] * 2
