"""Where a request comes from."""

from ipaddress import ip_network

import pytest

from api.http.client_address import address

NGINX = (ip_network("10.0.0.0/24"), ip_network("fd00::5/128"))


@pytest.mark.parametrize(
    ("peer", "claimed", "proxies", "expected"),
    [
        ("1.2.3.4", "", (), "1.2.3.4"),
        ("1.2.3.4", "9.9.9.9", (), "1.2.3.4"),  # no proxy is trusted
        ("127.0.0.1", "9.9.9.9", (), "127.0.0.1"),  # not even this machine
        ("1.2.3.4", "9.9.9.9", NGINX, "1.2.3.4"),  # not our proxy
        ("10.0.0.7", "9.9.9.9", NGINX, "9.9.9.9"),
        ("fd00::5", "2001:db8::1", NGINX, "2001:db8::1"),
        ("10.0.0.7", "8.8.8.8, 9.9.9.9", NGINX, "9.9.9.9"),  # what the caller claimed before our proxy added to it
        ("10.0.0.7", "8.8.8.8, 9.9.9.9, 10.0.0.8", NGINX, "9.9.9.9"),  # two proxies of ours
        ("10.0.0.7", "10.0.0.9", NGINX, "10.0.0.9"),
        ("10.0.0.7", "", NGINX, "10.0.0.7"),
        ("10.0.0.7", "nonsense", NGINX, "10.0.0.7"),
        ("10.0.0.7", "nonsense, 9.9.9.9", NGINX, "9.9.9.9"),
        ("10.0.0.7", "9.9.9.9:4711", NGINX, "10.0.0.7"),
        ("", "9.9.9.9", NGINX, ""),
    ],
)
def test_only_our_proxies_are_trusted(peer: str, claimed: str, proxies: tuple, expected: str):  # type: ignore[type-arg]
    assert address(peer, claimed, proxies) == expected
