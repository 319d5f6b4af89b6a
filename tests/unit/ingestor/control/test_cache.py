"""The last known subscriptions on disk."""

from pathlib import Path

import pytest

from common.tables.subscriptions import DesiredSubscription
from ingestor.control.cache import SubscriptionCache
from ingestor.control.state_file import StateFile

SUBSCRIPTION = DesiredSubscription("model", "linear", "tickers.BTCUSDT", 5, None)


@pytest.fixture
def file(tmp_path: Path) -> StateFile:
    return StateFile(tmp_path / "subscriptions.json", former=tmp_path / "wishes.json")


def test_the_next_run_reads_what_the_previous_one_kept(file: StateFile):
    SubscriptionCache(file).keep([SUBSCRIPTION])
    assert SubscriptionCache(file).last() == (SUBSCRIPTION,)


def test_an_unchanged_list_is_not_written_again(file: StateFile):
    cache = SubscriptionCache(file)
    cache.keep([SUBSCRIPTION])
    file.path.unlink()
    cache.keep([SUBSCRIPTION])
    assert not file.path.exists()
    cache.keep([])
    assert file.path.exists()


def test_an_update_loses_no_subscription(file: StateFile):
    assert file.former is not None
    file.former.write_text('[["model","linear","tickers.BTCUSDT",5,null]]')  # as the earlier release wrote it
    cache = SubscriptionCache(file)
    assert cache.last() == (SUBSCRIPTION,)
    cache.keep([SUBSCRIPTION])
    assert not file.former.exists()
    assert SubscriptionCache(file).last() == (SUBSCRIPTION,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "{}",
        "[7]",
        "[[]]",
        '[["a","linear","t","5",null]]',
        '[["a",5,"t",5,null]]',
        '[["a",[],{},5,7]]',
        "[" * 100_000,
    ],
)
def test_a_file_that_is_not_valid_holds_no_subscriptions(file: StateFile, text: str):
    file.path.write_text(text)
    assert SubscriptionCache(file).last() == ()


def test_a_folder_that_cannot_be_written_costs_the_cache_only(tmp_path: Path):
    (tmp_path / "folder").write_text("in the way")
    cache = SubscriptionCache(StateFile(tmp_path / "folder" / "subscriptions.json"))
    cache.keep([SUBSCRIPTION])
    assert cache.last() == ()
