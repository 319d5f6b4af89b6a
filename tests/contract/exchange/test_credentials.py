"""The private connection while there are no credentials, and when they come."""

from collections.abc import Callable

from prometheus_client import REGISTRY

from ingestor.bybit.states import State
from ingestor.observed import ObservedConnection
from tests.contract.exchange.conftest import CREDENTIALS, World
from tests.kit.waiting import eventually


def dialled() -> float:
    """How often this process has dialled the private endpoint."""
    return REGISTRY.get_sample_value("wsgw_connects_total", {"endpoint": "private"}) or 0.0


def private(world: World) -> ObservedConnection:
    return next(each for each in world.pool.observed() if each.endpoint == "private")


def test_nothing_is_dialled_without_credentials_and_the_first_ones_connect_at_once(open_world: Callable[..., World]):
    world, before = open_world(credentials=None), dialled()
    world.want("private", "order")
    eventually(lambda: private(world).state is State.PARKED, 5, "it is parked")
    assert (private(world).last_error, private(world).attempts) == ("no credentials", 0)
    assert dialled() == before
    world.renew(CREDENTIALS)
    eventually(lambda: private(world).state is State.LIVE, 5, "it is live")
    assert dialled() == before + 1
    world.flows("order", more=1)
