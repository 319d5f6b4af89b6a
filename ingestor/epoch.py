"""The name of one run of an ingestor: a ULID, so that names sort by age."""

import secrets

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_epoch(now_ms: int, entropy: int | None = None) -> str:
    """26 characters: 48 bits of Unix time in milliseconds and 80 random ones (github.com/ulid/spec)."""
    number = now_ms << 80 | (secrets.randbits(80) if entropy is None else entropy)
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))
