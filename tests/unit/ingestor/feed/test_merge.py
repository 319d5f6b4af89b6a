"""Two copies of one stream, merged into one."""

from hypothesis import assume, given
from hypothesis import strategies as st

from ingestor.feed.merge import TopicMerge

PUSHES = list(range(30))


@st.composite
def meetings(draw: st.DrawFn) -> tuple[int, int, list[bool], int]:
    """The last push before, the replacement's first, whose turn it is each time, and when to switch at the soonest."""
    before = draw(st.integers(0, 10))
    begins = draw(st.integers(before + 1, 25))
    turns = draw(st.lists(st.booleans(), min_size=60, max_size=60))
    return before, begins, turns, draw(st.integers(0, 40))


@given(meetings())
def test_whichever_is_ahead_and_whenever_it_switches_each_push_is_delivered_once_and_in_order(
    meeting: tuple[int, int, list[bool], int],
):
    before, begins, turns, soonest = meeting
    merge: TopicMerge[int] = TopicMerge()
    merge.delivered_before(before)
    primary, replacement = iter(PUSHES[before + 1 :]), iter(PUSHES[begins:])
    delivered: list[int] = []
    for turn, first in enumerate(turns):
        if not merge.switched and first:
            delivered += by_primary(merge, next(primary, None))
        elif (push := next(replacement, None)) is not None:
            delivered += merge.replacement(push, push)
        if not merge.switched and merge.synced and turn >= soonest:
            delivered += merge.switch()
    assume(merge.synced)
    delivered += [out for push in replacement for out in merge.replacement(push, push)]
    if not merge.switched:
        delivered += merge.switch()
    assert delivered == PUSHES[before + 1 :]


def by_primary(merge: TopicMerge[int], push: int | None) -> list[int]:
    """The primary's pushes are delivered as they come."""
    if push is None:
        return []
    merge.primary(push)
    return [push]


@given(st.integers(0, 29), st.integers(0, 29))
def test_a_replacement_that_is_never_needed_delivers_nothing(begins: int, brought: int):
    merge: TopicMerge[int] = TopicMerge()
    for push in PUSHES[:brought]:
        merge.primary(push)
    assert [out for push in PUSHES[begins:] for out in merge.replacement(push, push)] == []


def test_a_snapshot_that_the_replacement_alone_brings_is_dropped_once_the_primary_delivered_what_followed_it():
    merge: TopicMerge[str] = TopicMerge()
    merge.replacement("snapshot of 5", "snapshot")
    merge.replacement(6, "six")
    merge.replacement(7, "seven")
    merge.primary(6)
    assert merge.synced
    assert merge.switch() == ["seven"]


def test_what_the_replacement_brought_before_a_delivered_push_is_dropped():
    merge: TopicMerge[str] = TopicMerge()
    merge.primary(6)
    merge.replacement("snapshot of 5", "snapshot")
    assert merge.replacement(6, "six") == []
    assert merge.synced
    merge.replacement(7, "seven")
    assert merge.switch() == ["seven"]


def test_it_is_over_when_the_replacement_brings_something_new_after_the_switch():
    merge: TopicMerge[int] = TopicMerge()
    merge.primary(1)
    merge.switch()
    assert not merge.over
    assert merge.replacement(1, 1) == []
    assert not merge.over
    assert merge.replacement(2, 2) == [2]
    assert merge.over


def test_it_is_over_at_once_when_the_replacement_is_ahead():
    merge: TopicMerge[int] = TopicMerge()
    merge.primary(1)
    merge.replacement(2, 2)
    assert not merge.over
    assert merge.switch() == [2]
    assert merge.switch() == []
    assert merge.over
