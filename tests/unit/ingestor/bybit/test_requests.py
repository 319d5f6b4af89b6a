"""Which request an answer belongs to, and what it means for each topic."""

import json
from typing import Any

import pytest

from ingestor.bybit import messages
from ingestor.bybit.messages import Reply
from ingestor.bybit.requests import REQUESTS_IN_FLIGHT, PendingRequests, Verdict, verdicts

A, B, C = "tickers.A", "tickers.B", "tickers.C"
PARTIAL = (
    "Batch subscription partially succeeded and partially failed.Successful subscriptions are as follows:[tickers.A]. "
    "Subscription to the following topics failed because the topic does not exist or there is a subscription "
    "conflict:[tickers.B, tickers.C]."
)


def reply(**fields: Any) -> Reply:
    found = messages.read(json.dumps({"conn_id": "c", "op": "subscribe", "success": False} | fields).encode())
    assert isinstance(found, Reply)
    return found


def lists(succeeded: list[str], failed: list[str], success: bool = True) -> Reply:
    data = {"successTopics": succeeded, "failTopics": failed}
    return reply(success=success, data=data, type="COMMAND_RESP")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply(success=True), "acknowledged acknowledged acknowledged"),
        (reply(ret_msg="error:handler not found,topic:tickers.B"), "retry refused retry"),
        (reply(ret_msg="Invalid symbol :[tickers.C]"), "retry retry refused"),
        (reply(ret_msg="error:already subscribed,topic:tickers.B"), "retry acknowledged retry"),
        (reply(ret_msg="error:handler not found,topic:tickers.OTHER"), "retry_alone retry_alone retry_alone"),
        (reply(ret_msg="Params Error"), "retry_alone retry_alone retry_alone"),
        (reply(ret_msg=PARTIAL), "acknowledged refused refused"),
        (lists([A, B], [C]), "acknowledged acknowledged refused"),
        (lists([A], [], success=False), "acknowledged refused refused"),
    ],
)
def test_an_answer_means_something_for_each_topic_of_the_request(answer: Reply, expected: str):
    assert list(verdicts(answer, (A, B, C)).values()) == [Verdict[word.upper()] for word in expected.split()]


def test_the_only_topic_of_a_request_is_the_refused_one():
    assert verdicts(reply(ret_msg="Params Error"), (A,)) == {A: Verdict.REFUSED}
    assert verdicts(reply(ret_msg="error:already subscribed"), (A,)) == {A: Verdict.ACKNOWLEDGED}


def test_an_answer_belongs_to_the_request_with_its_id_and_to_none_twice():
    requests = PendingRequests()
    first, second = (json.loads(requests.send("subscribe", [topic], now=0.0).text) for topic in (A, B))
    found = requests.answered(reply(req_id=second["req_id"]))
    assert found is not None
    assert found.topics == (B,)
    assert requests.answered(reply(req_id=second["req_id"])) is None
    assert requests.answered(reply(req_id="another")) is None
    assert (requests.include(A), requests.include(B)) == (True, False)
    assert first["req_id"] != second["req_id"]


def test_an_answer_without_an_id_belongs_to_the_oldest_request_that_it_could_answer():
    requests = PendingRequests()
    requests.send("unsubscribe", [A], now=0.0)
    requests.send("subscribe", [A], now=0.0)
    requests.send("subscribe", [B, C], now=0.0)
    by_topic = requests.answered(lists([B], [C]))
    by_op = requests.answered(reply())
    by_age = requests.answered(reply(op=None))
    assert [request and (request.op, request.topics) for request in (by_topic, by_op, by_age)] == [
        ("subscribe", (B, C)),
        ("subscribe", (A,)),
        ("unsubscribe", (A,)),
    ]


def test_requests_without_an_answer_are_overdue_after_five_seconds():
    requests = PendingRequests()
    assert requests.due_at() == float("inf")
    requests.send("subscribe", [A], now=0.0)
    requests.send("subscribe", [B], now=1.0)
    assert (requests.free, requests.due_at()) == (REQUESTS_IN_FLIGHT - 2, 5.0)
    assert [request.topics for request in requests.take_overdue(5.0)] == [(A,)]
    assert requests.due_at() == 6.0
    requests.clear()
    assert requests.free == REQUESTS_IN_FLIGHT == 20
