"""Two copies of one stream, told as one."""

from hypothesis import assume, given
from hypothesis import strategies as st

from ingestor.feed.merge import TopicMerge

PUSHES = list(range(30))


@st.composite
def meetings(draw: st.DrawFn) -> tuple[int, int, list[bool], int]:
    """The last push before, the follower's first one, whose turn it is each time, and when to switch at the soonest."""
    before = draw(st.integers(0, 10))
    begins = draw(st.integers(before + 1, 25))
    turns = draw(st.lists(st.booleans(), min_size=60, max_size=60))
    return before, begins, turns, draw(st.integers(0, 40))


@given(meetings())
def test_whoever_is_ahead_and_whenever_it_switches_each_push_is_told_once_and_in_order(
    meeting: tuple[int, int, list[bool], int],
):
    before, begins, turns, soonest = meeting
    handover: TopicMerge[int] = TopicMerge()
    handover.told_before(before)
    leader, follower = iter(PUSHES[before + 1 :]), iter(PUSHES[begins:])
    told: list[int] = []
    for turn, leads in enumerate(turns):
        if handover.led and leads:
            told += [out for push in [next(leader, None)] if push is not None for out in handover.leader(push, push)]
        else:
            told += [
                out for push in [next(follower, None)] if push is not None for out in handover.follower(push, push)
            ]
        if handover.led and handover.synced and turn >= soonest:
            told += handover.switch()
    assume(handover.synced)
    told += [out for push in follower for out in handover.follower(push, push)]
    if handover.led:
        told += handover.switch()
    assert told == PUSHES[before + 1 :]


@given(st.integers(0, 29), st.integers(0, 29))
def test_a_follower_that_is_never_needed_changes_nothing(begins: int, brought: int):
    handover: TopicMerge[int] = TopicMerge()
    told = [out for push in PUSHES[:brought] for out in handover.leader(push, push)]
    assert [out for push in PUSHES[begins:] for out in handover.follower(push, push)] == []
    told += [out for push in PUSHES[brought:] for out in handover.leader(push, push)]
    assert told == PUSHES


def test_a_snapshot_that_the_follower_alone_brings_is_dropped_once_the_leader_told_what_came_after_it():
    handover: TopicMerge[str] = TopicMerge()
    handover.follower("snapshot of 5", "snapshot")
    handover.follower(6, "six")
    handover.follower(7, "seven")
    assert handover.leader(6, "6") == ["6"]
    assert handover.switch() == ["seven"]


def test_a_repeat_of_the_leader_is_told_again():
    handover: TopicMerge[int] = TopicMerge()
    assert [handover.leader("same", n) for n in range(2)] == [[0], [1]]


def test_it_is_over_when_the_new_leader_brings_something_new():
    handover: TopicMerge[int] = TopicMerge()
    handover.leader(1, 1)
    handover.switch()
    assert not handover.over
    assert handover.follower(1, 1) == []
    assert handover.follower(2, 2) == [2]
    assert handover.over
