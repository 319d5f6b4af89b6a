"""Text that others wrote."""

from hypothesis import given
from hypothesis import strategies as st

from common.foreign import LONGEST, plain

anything = st.text(st.characters(exclude_categories=()), max_size=2 * LONGEST)


def test_what_is_fit_stays_as_it_is():
    assert plain("1003 bye ✓\n") == "1003 bye ✓\n"


@given(text=anything)
def test_any_text_becomes_one_that_a_table_can_hold(text: str):
    found = plain(text)
    found.encode()
    assert "\x00" not in found
    assert len(found) == min(len(text), LONGEST)
