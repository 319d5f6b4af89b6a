"""Text from outside, made storable in a log line and in a table."""

import re

LONGEST = 500
_UNFIT = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL refuses both


def plain(text: str, longest: int = LONGEST) -> str:
    """The first `longest` characters; U+FFFD replaces those that PostgreSQL cannot store."""
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text[:longest])
