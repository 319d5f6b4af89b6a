"""The parts of gunicorn that are not public and that the worker relies on."""

import inspect
from typing import Any

import pytest
from gunicorn.config import Config  # type: ignore[import-untyped]
from gunicorn.http.parser import RequestParser  # type: ignore[import-untyped]
from gunicorn.http.unreader import SocketUnreader  # type: ignore[import-untyped]
from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

from api.http.gunicorn_worker import DeadlineWorker

OVERRIDDEN = ("enqueue_req", "handle", "handle_request", "murder_pending", "handle_error")


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_gunicorn_has_what_the_worker_overrides(name: str):
    """With the same parameters: another number of them would fail at the first request."""
    ours, theirs = (
        list(inspect.signature(getattr(owner, name)).parameters) for owner in (DeadlineWorker, ThreadWorker)
    )
    assert len(ours) == len(theirs)


@pytest.mark.parametrize("name", ["poller", "nr_conns"])
def test_a_worker_has_what_ours_uses(name: str):
    assert name in attributes_of(ThreadWorker)


@pytest.mark.parametrize("name", ["sock", "parser", "data_ready"])
def test_a_connection_has_what_the_worker_uses(name: str):
    assert name in attributes_of(TConn)


def test_a_connection_can_be_closed():
    assert callable(TConn.close)


def test_what_a_parser_has_read_too_much_is_in_its_buffer():
    parser = RequestParser(Config(), iter([b"GET / HTTP/1.1\r\n\r\nGET"]), None)
    next(parser)
    assert parser.unreader.buf.getvalue() == b"GET"
    assert "buf" in attributes_of(SocketUnreader.__mro__[1])


def test_the_worker_is_called_every_second_or_so():
    """`murder_pending` is the only hook that runs without a request."""
    assert "murder_pending()" in inspect.getsource(ThreadWorker.run)


def attributes_of(owner: Any) -> set[str]:
    """Those that its constructor sets, as the names in its source."""
    source = inspect.getsource(owner.__init__)
    return {word.split(".")[1] for word in source.split() if word.startswith("self.")}
