"""Reading dead-lettered messages and replaying them."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pika
import pytest

from cli.app import main
from common import topology
from tests.contract.persister.conftest import Queue, rows
from tests.kit import wallets
from tests.kit.servers import Broker, Database
from tests.kit.waiting import eventually

GOOD = wallets.live(wallets.frame(wallets.account(wallets.coin("BTC"))))
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(broker: Broker, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command's exit status and output.

    The process's own environment stays as it is: libpq reads it without the interpreter's lock, and a persister
    that connects in its thread while it grows dies of a segmentation fault.
    """

    def command(*words: str, **more: str) -> tuple[int, str, str]:
        status = main(["dead", *words], broker.environ() | more)
        output = capsys.readouterr()
        return status, output.out, output.err

    return command


def dead_letter(
    queue: Queue, id: str, body: bytes, origin: str = topology.BALANCE_QUEUE, reason: str = "not valid JSON"
) -> None:
    headers = {"queue": origin, "reason": reason, "refused-at": "2026-08-09T21:26:58Z"}
    properties = pika.BasicProperties(message_id=id, delivery_mode=2, type="balance", headers=headers)
    queue.channel.basic_publish(topology.DEAD, "", body, properties)


def test_messages_are_listed_with_their_reasons_and_stay(queue: Queue, run: Run) -> None:
    dead_letter(queue, "one", b"{")
    dead_letter(queue, "two", b"[", reason="USDT: walletBalance must be an amount")
    for _ in range(2):
        status, out, err = run("list")
        assert (status, err) == (0, "2 in ws-gateway.dead\n")
        assert out.splitlines() == [
            "one  2026-08-09T21:26:58Z  ws-gateway.balance.persister  not valid JSON",
            "two  2026-08-09T21:26:58Z  ws-gateway.balance.persister  USDT: walletBalance must be an amount",
        ]
    assert len(run("list", "--limit", "1")[1].splitlines()) == 1


def test_one_is_shown_whole(queue: Queue, run: Run) -> None:
    dead_letter(queue, "one", b"\xff{")
    status, out, _ = run("show", "one")
    assert status == 0
    assert out.endswith("\n\n\\xff{\n")
    assert "reason: not valid JSON" in out
    missing = "two: no such message in ws-gateway.dead; `ws-gateway dead list` shows the ids\n"
    assert run("show", "two") == (1, "", missing)


def test_one_is_sent_back_and_the_others_stay(queue: Queue, run: Run) -> None:
    queue.channel.queue_declare("plain")
    for name in ("one", "two", "three"):
        dead_letter(queue, name, name.encode(), origin="plain")
    assert run("replay", "two")[0] == 0
    assert [line.split()[0] for line in run("list")[1].splitlines()] == ["one", "three"]
    method, properties, body = queue.channel.basic_get("plain", auto_ack=True)
    assert method is not None
    assert (properties.message_id, properties.type, properties.headers, body) == ("two", "balance", None, b"two")
    assert run("replay", "two")[0] == 1


def test_a_message_that_was_refused_twice_is_sent_back_with_its_copy(queue: Queue, run: Run) -> None:
    queue.channel.queue_declare("plain")
    for name in ("one", "two", "one"):
        dead_letter(queue, name, name.encode(), origin="plain")
    assert run("replay", "one")[0] == 0
    assert [line.split()[0] for line in run("list")[1].splitlines()] == ["two"]


def test_it_is_installed_as_ws_gateway(queue: Queue, broker: Broker) -> None:
    dead_letter(queue, "one", b"{")
    command = [str(Path(sys.executable).with_name("ws-gateway")), "dead", "list"]
    env = {"PATH": os.environ["PATH"], **broker.environ()}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.startswith("one  ")


def test_a_message_that_was_refused_is_stored_once_the_reason_is_gone(
    queue: Queue, persister: threading.Thread, run: Run, database: Database
) -> None:
    database.execute("ALTER TABLE account_balances ADD CONSTRAINT broken CHECK (coin <> 'BTC')")
    queue.publish(GOOD)
    eventually(lambda: "SQLSTATE 23514" in run("list")[1], 20, "the message is refused")
    database.execute("ALTER TABLE account_balances DROP CONSTRAINT broken")
    assert run("replay", "--all")[0] == 0
    assert rows(database, "SELECT coin FROM account_balances", 1) == [("BTC",)]
    assert run("list")[2] == "0 in ws-gateway.dead\n"


def test_what_is_refused_again_does_not_loop(queue: Queue, persister: threading.Thread, run: Run) -> None:
    dead_letter(queue, "one", b"{")
    assert run("replay", "--all")[1].count("sent back") == 1
    eventually(lambda: "one" in run("list")[1], 20, "it is refused again")


def test_what_fell_out_of_a_queue_goes_back_to_it(queue: Queue, run: Run) -> None:
    arguments = {"x-dead-letter-exchange": topology.DEAD, "x-max-length": 1}
    queue.channel.queue_declare("private", durable=True, arguments=arguments)
    for body in (b"first", b"second"):
        queue.channel.basic_publish("", "private", body)
    [message, _, name, reason] = eventually(lambda: run("list")[1].split(), 10, "the first fell out")
    assert (name, reason) == ("private", "maxlen")
    queue.channel.queue_purge("private")
    assert run("replay", message)[0] == 0
    assert queue.channel.basic_get("private", auto_ack=True)[2] == b"first"


def test_a_message_without_a_known_queue_stays(queue: Queue, run: Run) -> None:
    queue.channel.basic_publish(topology.DEAD, "", b"?", pika.BasicProperties(message_id="one"))
    dead_letter(queue, "two", b"!", origin="gone")
    status, out, err = run("replay", "--all")
    assert (status, out) == (1, "")
    assert "one: origin queue unknown; left in ws-gateway.dead\n" in err
    assert "two: queue gone does not exist; left in ws-gateway.dead\n" in err
    assert len(run("list")[1].splitlines()) == 2


def test_an_unavailable_broker_is_one_line_that_names_the_settings(run: Run) -> None:
    status, _, err = run("list", RABBITMQ_PORT="1")
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith("ws-gateway: RabbitMQ unavailable at 127.0.0.1:1, check RABBITMQ_HOST and RABBITMQ_PORT: ")
    with pytest.raises(SystemExit, match="78"):
        run("list", RABBITMQ_PASSWORD="")
