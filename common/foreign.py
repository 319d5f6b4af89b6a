"""Text that somebody else wrote, made fit for a log line and a table."""

import re

LONGEST = 500
_UNFIT = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL refuses both


def plain(text: str, longest: int = LONGEST) -> str:
    """The beginning of the text; a character that no table can hold becomes U+FFFD."""
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text[:longest])
