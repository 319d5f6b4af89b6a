"""The reconciler before it runs: what it keeps of the reasons to look."""

import gc
import weakref
from pathlib import Path
from typing import Any, cast

from common.notifications import Poke
from common.settings import Retention
from ingestor.control.cache import Cache
from ingestor.control.reconciler import Reconciler


class Remembered(Poke):
    """One that a test can ask whether it is still kept."""


def test_of_a_flood_of_pokes_a_thousand_are_kept(tmp_path: Path):
    nothing = cast(Any, None)
    reconciler = Reconciler(
        engine=nothing,
        queues=nothing,
        fleet=nothing,
        broker_connected=lambda: True,
        held=lambda: None,
        carried_out=lambda _: None,
        cache=Cache(tmp_path / "wishes.json"),
        retention=Retention(24, 100_000),
        market_queue_type="classic",
        own=lambda: (),
    )
    pokes = [Remembered(number, None) for number in range(1_001)]
    first, last = weakref.ref(pokes[0]), weakref.ref(pokes[-1])
    for poke in pokes:
        reconciler.poke(poke)
    del poke, pokes
    gc.collect()
    assert (first() is not None, last() is not None) == (True, False)
