"""What the broker has and has not confirmed."""

from ingestor.delivery.unconfirmed import Unconfirmed


def ledger(*items: str) -> Unconfirmed[str]:
    book: Unconfirmed[str] = Unconfirmed()
    for item in items:
        book.published(item)
    return book


def test_confirms_settle_singly_and_in_any_order():
    book = ledger("a", "b", "c")
    assert [list(book.settled(tag, multiple=False)) for tag in (3, 1, 1)] == [["c"], ["a"], []]
    assert len(book) == 1


def test_a_multiple_confirm_settles_all_up_to_its_tag():
    book = ledger("a", "b", "c", "d")
    list(book.settled(2, multiple=False))
    assert list(book.settled(3, multiple=True)) == ["a", "c"]


def test_a_tag_from_elsewhere_settles_nothing():
    assert list(ledger("a").settled(9, multiple=False)) == []


def test_what_is_given_up_comes_back_in_order_and_tags_start_anew():
    book = ledger("a", "b", "c")
    list(book.settled(2, multiple=False))
    assert book.given_up() == ["a", "c"]
    book.published("x")
    assert list(book.settled(1, multiple=False)) == ["x"]
