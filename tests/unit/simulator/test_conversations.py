"""Every endpoint answers in its own words."""

import json
from typing import Any

import pytest

from simulator.conversations import (
    Act,
    Close,
    LinearConversation,
    Open,
    OptionConversation,
    PrivateConversation,
    Send,
    SpotConversation,
)
from simulator.signing import Credentials

NOW_MS = 1_795_165_000_000
CREDENTIALS = Credentials("key", "secret")
ID = "d8bu1olkndm7crnfs1e0-j6akw"


def knows(topic: str) -> bool:
    return "NOPE" not in topic


def linear() -> LinearConversation:
    return LinearConversation(ID, knows)


def spot() -> SpotConversation:
    return SpotConversation(ID, knows, lambda topic: topic != "order")


def option() -> OptionConversation:
    return OptionConversation(ID, knows)


def private() -> PrivateConversation:
    return PrivateConversation(ID, CREDENTIALS)


def request(op: str, *args: Any, **more: Any) -> str:
    return json.dumps({**more, "op": op, "args": list(args)})


def subscribe(*topics: str, **more: Any) -> str:
    return request("subscribe", *topics, **more)


def sign_in(expires: Any = NOW_MS + 10_000, key: str = "key", signature: str | None = None, **more: Any) -> str:
    signed = CREDENTIALS.sign(f"GET/realtime{expires}") if signature is None else signature
    return request("auth", key, expires, signed, **more)


def sent(acts: list[Act]) -> list[str]:
    return [act.text for act in acts if isinstance(act, Send)]


def authenticated() -> PrivateConversation:
    conversation = private()
    conversation.received(sign_in(), NOW_MS)
    return conversation


def test_linear_gives_the_data_before_the_ack():
    acts = linear().received(subscribe("tickers.A", "orderbook.50.A"), NOW_MS)
    assert acts == [
        Open(("tickers.A", "orderbook.50.A")),
        Send(f'{{"success":true,"ret_msg":"","conn_id":"{ID}","req_id":"","op":"subscribe"}}', "ack"),
    ]


def test_spot_gives_the_ack_before_the_data():
    acts = spot().received(subscribe("tickers.A", req_id="10001"), NOW_MS)
    assert acts == [
        Send(f'{{"success":true,"ret_msg":"subscribe","conn_id":"{ID}","req_id":"10001","op":"subscribe"}}', "ack"),
        Open(("tickers.A",)),
    ]


@pytest.mark.parametrize(
    ("topics", "why"),
    [
        (["tickers.A", "tickers.NOPE", "tickers.NOPE2"], "error:handler not found,topic:tickers.NOPE"),
        (["tickers.A", "tickers.A"], "error:already subscribed,topic:tickers.A"),
        (["tickers.B", "tickers.HELD"], "error:already subscribed,topic:tickers.HELD"),
    ],
)
def test_one_bad_topic_spoils_a_linear_request(topics: list[str], why: str):
    conversation = linear()
    conversation.received(subscribe("tickers.HELD"), NOW_MS)
    (act,) = conversation.received(subscribe(*topics, req_id="e1"), NOW_MS)
    assert isinstance(act, Send)
    assert act.text == (f'{{"success":false,"ret_msg":"{why}","conn_id":"{ID}","req_id":"e1","op":"subscribe"}}')
    assert list(conversation.held) == ["tickers.HELD"]


def test_unsubscribing_makes_room_for_subscribing_again():
    conversation = linear()
    conversation.received(subscribe("tickers.A"), NOW_MS)
    acts = conversation.received(request("unsubscribe", "tickers.A", req_id="3"), NOW_MS)
    reply = f'{{"success":true,"ret_msg":"","conn_id":"{ID}","req_id":"3","op":"unsubscribe"}}'
    assert acts == [Close(("tickers.A",)), Send(reply, "ack")]
    assert Open(("tickers.A",)) in conversation.received(subscribe("tickers.A"), NOW_MS)


@pytest.mark.parametrize(
    ("topics", "why"),
    [
        ([f"tickers.{number}" for number in range(11)], "args size >10"),
        (["tickers.A", "tickers.NOPEUSDT"], "Invalid symbol :[tickers.NOPEUSDT]"),
        (["order"], "error:handler not found,topic:order"),
    ],
)
def test_spot_refuses_a_request_whole(topics: list[str], why: str):
    conversation = spot()
    (text,) = sent(conversation.received(subscribe(*topics), NOW_MS))
    assert text == f'{{"success":false,"ret_msg":"{why}","conn_id":"{ID}","op":"subscribe"}}'
    assert not conversation.held


def test_option_names_what_failed_and_what_did_not():
    acts = option().received(subscribe("tickers.A", "tickers.NOPE", req_id="7"), NOW_MS)
    lists = '{"failTopics":["tickers.NOPE"],"successTopics":["tickers.A"]}'
    assert sent(acts) == [f'{{"success":false,"conn_id":"{ID}","data":{lists},"type":"COMMAND_RESP"}}']
    assert acts[1] == Open(("tickers.A",))


@pytest.mark.parametrize(
    ("conversation", "sample", "line"),
    [
        (linear, "public.linear.replies.jsonl", 0),
        (spot, "public.spot.replies.jsonl", 0),
        (option, "public.option.samples.2026-09.jsonl", 0),
        (authenticated, "private.replies.jsonl", 1),
    ],
)
def test_acks_look_like_real_ones(real, shape, conversation, sample: str, line: int):
    topic = "order" if conversation is authenticated else "tickers.A"
    assert shape(json.loads(sent(conversation().received(subscribe(topic), NOW_MS))[0])) == shape(real(sample, line))


@pytest.mark.parametrize(
    ("conversation", "req_id", "pong"),
    [
        (linear, None, f'{{"success":true,"ret_msg":"pong","conn_id":"{ID}","req_id":"","op":"ping"}}'),
        (linear, "p", f'{{"success":true,"ret_msg":"pong","conn_id":"{ID}","req_id":"p","op":"ping"}}'),
        (spot, None, f'{{"success":true,"ret_msg":"pong","conn_id":"{ID}","op":"ping"}}'),
        (spot, "p", f'{{"success":true,"ret_msg":"pong","conn_id":"{ID}","req_id":"p","op":"ping"}}'),
        (option, "p", f'{{"args":["{NOW_MS}"],"op":"pong"}}'),
        (private, None, f'{{"op":"pong","args":["{NOW_MS}"],"conn_id":"{ID}"}}'),
        (private, "p", f'{{"req_id":"p","op":"pong","args":["{NOW_MS}"],"conn_id":"{ID}"}}'),
    ],
)
def test_pongs(conversation, req_id: str | None, pong: str):
    ping = {"op": "ping"} if req_id is None else {"req_id": req_id, "op": "ping"}
    assert sent(conversation().received(json.dumps(ping), NOW_MS)) == [pong]


def test_an_unknown_op():
    assert '"ret_msg":"error:invalid op"' in sent(linear().received('{"op":"dance"}', NOW_MS))[0]


@pytest.mark.parametrize("text", ["hello", "", "[1]", '"x"', "[" * 100_000])
def test_what_is_not_a_json_object(text: str):
    assert "readObjectStart: expect { or n, but found" in sent(linear().received(text, NOW_MS))[0]


@pytest.mark.parametrize("args", [None, [], "tickers.A", [1], [["tickers.A"]]])
def test_malformed_args_are_a_params_error_with_the_id_first(args: Any):
    text = json.dumps({"req_id": "9", "op": "subscribe", "args": args})
    assert sent(linear().received(text, NOW_MS))[0].startswith('{"req_id":"9","success":false,"ret_msg":"Params Error"')


def test_topics_of_one_connection_have_a_total_length():
    conversation = linear()
    for number in range(20):
        assert len(conversation.received(subscribe(f"tickers.{number:01000}"), NOW_MS)) == 2
    assert "Params Error" in sent(conversation.received(subscribe(f"tickers.{20:01000}"), NOW_MS))[0]


def test_nothing_private_before_signing_in():
    (text,) = sent(private().received(subscribe("order", req_id="1"), NOW_MS))
    head = '{"req_id":"1","success":false,"ret_msg":"Request not authorized","op":"subscribe"'
    assert text == f'{head},"conn_id":"{ID}"}}'


@pytest.mark.parametrize("expires", [NOW_MS + 1, str(NOW_MS + 1), NOW_MS + 6 * 3_600_000])
def test_signing_in(expires: Any):
    conversation = private()
    reply = f'{{"req_id":"10001","success":true,"ret_msg":"","op":"auth","conn_id":"{ID}"}}'
    assert sent(conversation.received(sign_in(expires, req_id="10001"), NOW_MS)) == [reply]
    assert conversation.authenticated


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (sign_in(NOW_MS), "Params Error"),
        (sign_in(NOW_MS - 1), "Params Error"),
        (sign_in("soon"), "Params Error"),
        (sign_in(True), "Params Error"),
        (request("auth", "key"), "Params Error"),
        (sign_in(key="other"), "API key is invalid."),
        (sign_in(signature="0" * 64), "error:the simulator computed another signature"),
    ],
)
def test_refused_signing_in(text: str, why: str):
    conversation = private()
    (reply,) = sent(conversation.received(text, NOW_MS))
    assert reply == f'{{"success":false,"ret_msg":"{why}","op":"auth","conn_id":"{ID}"}}'
    assert not conversation.authenticated


def test_private_subscribes_what_it_can_and_names_the_rest():
    conversation = authenticated()
    acts = conversation.received(subscribe("wallet", "ticketInfo", "nope.linear", req_id="Tg7"), NOW_MS)
    assert acts[0] == Open(("wallet",))
    reply = json.loads(sent(acts)[0])
    assert list(reply) == ["op", "success", "conn_id", "ret_msg", "req_id"]
    assert reply["success"] is False
    assert "are as follows:[wallet]. Subscription" in reply["ret_msg"]
    assert reply["ret_msg"].endswith("subscription conflict:[ticketInfo nope.linear].")


def test_all_in_one_and_categorised_topics_exclude_each_other():
    conversation = authenticated()
    (text,) = sent(conversation.received(subscribe("order", "order.linear", "execution.fast.spot"), NOW_MS))
    assert "follows:[execution.fast.spot]." in text
    assert "conflict:[order order.linear]" in text
    assert "conflict:[execution.fast]" in sent(conversation.received(subscribe("execution.fast"), NOW_MS))[0]


def test_private_topics_of_event_contracts_stand_beside_the_all_in_one_ones():
    topics = ("order", "order.event", "execution.event", "position.event")
    acts = authenticated().received(subscribe(*topics), NOW_MS)
    assert acts[0] == Open(topics)
    assert json.loads(sent(acts)[0])["success"] is True


def test_a_public_topic_on_the_private_path():
    assert "conflict:[tickers.BTCUSDT]" in sent(authenticated().received(subscribe("tickers.BTCUSDT"), NOW_MS))[0]
