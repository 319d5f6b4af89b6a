"""Where a request comes from."""

from collections.abc import Sequence
from ipaddress import ip_address

from api.settings import Network


def address(peer: str, forwarded_for: str, proxies: Sequence[Network]) -> str:
    """The nearest address that is not one of our proxies; only our proxies are trusted for what is further away."""
    nearest = peer
    for claimed in reversed(forwarded_for.split(",")):
        if not _is_one_of(nearest, proxies):
            return nearest
        if not _is_address(claimed.strip()):
            return nearest
        nearest = claimed.strip()
    return nearest


def _is_one_of(text: str, networks: Sequence[Network]) -> bool:
    return bool(networks) and _is_address(text) and any(ip_address(text) in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
