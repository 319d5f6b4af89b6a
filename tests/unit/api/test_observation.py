"""What the ingestor reports, shared by the requests of a moment."""

from sqlalchemy import Connection, create_engine

from api.services.observation import Observation, ObservationCache
from tests.unit.api import views

NO_CONNECTION = Connection(create_engine("sqlite://"))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Reader:
    """Counts how often the database is read."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self, _connection: Connection) -> Observation:
        self.reads += 1
        return Observation(views.NOW, None, [])


def test_an_observation_is_shared_for_a_moment():
    clock, reader = Clock(), Reader()
    cache = ObservationCache(reader, fresh_for_s=0.25, clock=clock)
    first = cache.get(NO_CONNECTION)
    clock.now = 0.24
    assert cache.get(NO_CONNECTION) is first
    clock.now = 0.25
    assert cache.get(NO_CONNECTION) is not first
    assert reader.reads == 2


def test_while_one_request_reads_the_others_use_the_last_observation():
    clock, reader = Clock(), Reader()
    during: list[Observation] = []

    def reading(connection: Connection) -> Observation:
        if reader.reads == 1:
            during.append(cache.get(connection))
        return reader(connection)

    cache = ObservationCache(reading, fresh_for_s=0.25, clock=clock)
    first = cache.get(NO_CONNECTION)
    clock.now = 1.0
    assert cache.get(NO_CONNECTION) is not first
    assert during == [first]
    assert reader.reads == 2


def test_a_read_that_fails_lets_the_next_request_read():
    class Broken(Reader):
        def __call__(self, connection: Connection) -> Observation:
            if self.reads == 0:
                self.reads += 1
                raise LookupError
            return super().__call__(connection)

    reader = Broken()
    cache = ObservationCache(reader, fresh_for_s=10)
    try:
        cache.get(NO_CONNECTION)
    except LookupError:
        assert cache.get(NO_CONNECTION).leader is None
    assert reader.reads == 2


def test_an_old_heartbeat_is_no_report():
    assert Observation(views.NOW, views.leader(age_s=4.4), []).reporting is not None
    assert Observation(views.NOW, views.leader(age_s=4.5), []).reporting is None
    assert Observation(views.NOW, None, []).reporting is None
