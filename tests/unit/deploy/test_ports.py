"""Who holds a port."""

import os
import socket

from deploy.run import ports
from deploy.run.ports import Holder, Port

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1150 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 70001 1 0
   1: 0100007F:1150 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 70002 1 0
   2: 0100007F:1178 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 70003 1 0
"""


def test_only_the_listening_socket_counts_as_the_holder() -> None:
    assert ports.listening_inodes(TABLE, 4432) == {"70001"}


def test_the_text_names_port_holder_and_variable() -> None:
    text = ports.explained(Port(4432, "POSTGRES_PORT"), Holder(17, "postgres -D /data"))
    assert text.splitlines() == [
        "  4432 is held by pid 17, postgres -D /data",
        "       end that process, or choose another POSTGRES_PORT in .env",
    ]


def test_a_holder_of_another_user_is_not_named() -> None:
    assert "a process of another user" in ports.explained(Port(1, "X"), None)


def test_a_listener_is_found_with_its_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = Port(listener.getsockname()[1], "X")
        assert ports.taken([taken]) == [taken]
        found = ports.holder(taken.number)
    assert found is not None
    assert found.pid == os.getpid()
    assert ports.taken([taken]) == []


def test_a_port_wanted_twice_is_found() -> None:
    first, other, second = Port(1, "A"), Port(2, "B"), Port(1, "C")
    assert ports.twice([first, other, second]) == [(first, second)]
