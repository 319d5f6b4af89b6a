"""The last known subscriptions on disk."""

from pathlib import Path

import pytest

from common.tables.subscriptions import DesiredSubscription
from ingestor.control.cache import SubscriptionCache

WISH = DesiredSubscription("model", "linear", "tickers.BTCUSDT", 5, None)


def test_the_next_life_reads_what_the_last_one_kept(tmp_path: Path):
    SubscriptionCache(tmp_path / "wishes.json").keep([WISH])
    assert SubscriptionCache(tmp_path / "wishes.json").last() == (WISH,)


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
def test_a_file_that_makes_no_sense_knows_no_subscriptions(tmp_path: Path, text: str):
    (tmp_path / "wishes.json").write_text(text)
    assert SubscriptionCache(tmp_path / "wishes.json").last() == ()


def test_a_folder_that_takes_nothing_costs_the_cache_only(tmp_path: Path):
    (tmp_path / "folder").write_text("in the way")
    cache = SubscriptionCache(tmp_path / "folder" / "wishes.json")
    cache.keep([WISH])
    assert cache.last() == ()
