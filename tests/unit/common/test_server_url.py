"""URLs and host lists of servers."""

import pytest

from common.server_url import format_hosts, parse_hosts, parse_url

PORTS = {"amqp": 5672, "amqps": 5671}


def test_a_url_is_taken_apart_and_decoded():
    found = parse_url("amqps://m%40e:p%40%2F%3A@a,b:5673/v%2F1?cacertfile=%2Fca.pem", PORTS)
    assert (found.scheme, found.user, found.password) == ("amqps", "m@e", "p@/:")
    assert found.hosts == (("a", 5671), ("b", 5673))
    assert (found.path, found.options) == ("v/1", {"cacertfile": "/ca.pem"})


@pytest.mark.parametrize("text", ["amqp://a", "amqp://a/", "amqp://@a"])
def test_what_a_url_does_not_contain_is_unknown(text: str):
    found = parse_url(text, PORTS)
    assert (found.user, found.password, found.path, found.options) == (None, None, None, {})
    assert found.hosts == (("a", 5672),)


@pytest.mark.parametrize(
    "text",
    [
        "amqp://me:SECRET@a/@v",
        "amqp://me:SEC/RET@a/v",
        "amqp://me:SEC#RET@a/v",
        "amqp://me:SEC?RET@a/v",
        "amqp://me:SEC@RET@a/v",
        "amqp://me:SECRET@a:port/v",
        "amqp://me:SECRET@/v",
        "amqp://me:SECRET@a:0/v",
        "amqp://SECRET:SECRET",
        "http://me:SECRET@a/v",
        "me:SECRET@a/v",
    ],
)
def test_no_error_shows_a_part_of_the_url(text: str):
    with pytest.raises(ValueError, match="must b") as refused:
        parse_url(text, PORTS)
    assert "SEC" not in str(refused.value)
    assert "RET" not in str(refused.value)


def test_hosts_may_have_ports_of_their_own():
    hosts = parse_hosts("a, b:5673,[::1],[::2]:1", 5672)
    assert hosts == (("a", 5672), ("b", 5673), ("::1", 5672), ("::2", 1))
    assert parse_hosts(format_hosts(hosts), 9) == hosts


def test_an_ipv6_address_without_a_port_needs_no_brackets():
    assert parse_hosts("::1,fe80::2", 5672) == (("::1", 5672), ("fe80::2", 5672))


@pytest.mark.parametrize(
    "text", ["", "a,", "a:1:2", "a b", ":5672", "a:x", "a:70000", "a:0", "a/b", "u@a", "a?b", "a#b"]
)
def test_a_list_with_a_wrong_host_is_refused(text: str):
    with pytest.raises(ValueError, match="hosts must be host or host:port"):
        parse_hosts(text, 5672)
