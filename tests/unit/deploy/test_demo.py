"""What `make run` prints at its end."""

from urllib.parse import unquote, urlsplit

from common.settings import RabbitMQ
from deploy.run import demo


def rabbitmq(password: str, vhost: str = "/", tls: bool = False) -> RabbitMQ:
    return RabbitMQ((("127.0.0.1", 4472),), "me", password, vhost, tls, "")


def test_the_amqp_url_survives_special_characters() -> None:
    url = urlsplit(demo.amqp_url(rabbitmq("p@ss:/w%rd#?ü", vhost="a/b")))
    assert unquote(url.password or "") == "p@ss:/w%rd#?ü"
    assert (url.hostname, url.port, url.path) == ("127.0.0.1", 4472, "/a%2Fb")


def test_tls_shows_in_the_amqp_url() -> None:
    assert demo.amqp_url(rabbitmq("p", tls=True)) == "amqps://me:p@127.0.0.1:4472/%2F"


def test_what_is_not_well_is_named() -> None:
    components = {"broker": {"state": "healthy"}, "sockets": {"state": "connecting"}, "database": {"state": "down"}}
    assert demo.unhealthy({"components": components}) == "sockets connecting, database down"
    assert demo.unhealthy({}) == ""


def test_the_demo_subscribes_for_ten_minutes() -> None:
    assert demo.SUBSCRIPTION["ttl_seconds"] == 600


def test_an_event_fits_one_line() -> None:
    body = (
        b'{"type":"bybit.trades","subject":"publicTrade.BTCUSDT","receivedtime":"2026-08-09T21:26:58.125431Z",'
        b'"data":{"data":[' + b",".join([b'{"p":"58000.1"}'] * 20) + b"]}}"
    )
    shown = demo.line(body)
    assert shown.startswith('  21:26:58.125  bybit.trades   publicTrade.BTCUSDT    [{"p":"58000.1"},{"p":"58000.1"}')
    assert len(shown) < 120
