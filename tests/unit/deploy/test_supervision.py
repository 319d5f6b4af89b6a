"""The configuration of supervisord."""

import configparser
import os
import sys
from pathlib import Path

import simulator.settings
from common import entrypoint
from deploy.run import processes, supervision
from tests.kit import children
from tests.kit.servers import ROOT
from tests.kit.waiting import eventually

RUN = (ROOT / "deploy/supervisor/run.conf").read_text()
CONTAINER = (ROOT / "deploy/supervisor/container.conf").read_text()


_LEAVES_LATER = """import os, time
parent = os.getppid()
while os.getppid() == parent:
    time.sleep(0.02)
time.sleep(1)
"""
_STARTS_IT = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[2]]).wait()"


def parsed(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return parser


def test_the_socket_lies_beside_the_data_or_where_its_path_is_short() -> None:
    assert supervision.socket_path(Path("/home/me/ws/.run")) == Path("/home/me/ws/.run/supervisor.sock")
    far = supervision.socket_path(Path("/home") / ("deep" * 30) / ".run")
    assert far.is_relative_to("/tmp")
    assert len(str(far)) < 60
    assert far != supervision.socket_path(Path("/home") / ("else" * 30) / ".run")


def test_a_percent_sign_in_the_path_survives() -> None:
    found = parsed(supervision.rendered(RUN, Path("/a%b/supervisor.sock")))
    assert found["unix_http_server"]["file"] == "/a%%b/supervisor.sock"
    assert found["supervisorctl"]["serverurl"] == "unix:///a%%b/supervisor.sock"


def test_programs_have_the_same_names_everywhere() -> None:
    run, container = parsed(RUN), parsed(CONTAINER)
    assert run["group:gateway"]["programs"] == "postgres,rabbitmq,simulator,ingestor,persister,api"
    assert container["group:gateway"]["programs"] == "ingestor,persister,api"
    for found in (run, container):
        for name in found["group:gateway"]["programs"].split(","):
            program = found[f"program:{name}"]
            assert program["autorestart"] == ("true" if name in ("postgres", "rabbitmq") else "unexpected")
            assert float(program["startsecs"]) < min(entrypoint.SUPERVISED_FOR_S, simulator.settings.SUPERVISED_FOR_S)
            assert int(program["startretries"]) >= 1000
            assert int(program["stopwaitsecs"]) >= 10
            assert program["killasgroup"] == "true"


def test_the_container_writes_its_logs_to_stdout() -> None:
    found = parsed(CONTAINER)
    for name in ("ingestor", "persister", "api"):
        assert found[f"program:{name}"]["stdout_logfile"] == "/dev/fd/1"
        assert found[f"program:{name}"]["stdout_logfile_maxbytes"] == "0"


def test_supervisord_is_not_reachable_over_the_network() -> None:
    assert "inet_http_server" not in RUN + CONTAINER
    assert parsed(RUN)["unix_http_server"]["chmod"] == parsed(CONTAINER)["unix_http_server"]["chmod"] == "0700"


def test_stop_waits_for_what_outlives_supervisord_by_a_moment(tmp_path: Path) -> None:
    supervisor = supervision.Supervisor(tmp_path)
    supervisor.folder.mkdir()
    stand_in = children.start([sys.executable, "-c", _STARTS_IT, supervisor.config, _LEAVES_LATER])
    (supervisor.folder / "supervisord.pid").write_text(str(stand_in.pid))
    try:
        eventually(lambda: supervisor.pid() == stand_in.pid, 10, "it is the one")
        child = eventually(lambda: processes.family_of(stand_in.pid)[1:], 10, "its child runs")
        assert supervisor.stop()
        assert [pid for pid in child if processes.alive(pid)] == []
    finally:
        stand_in.kill()
        stand_in.wait(10)


def test_unprivileged_users_pass_through_the_folder_of_root_and_read_none_of_it(tmp_path: Path):
    (tmp_path / "deploy/supervisor").mkdir(parents=True)
    (tmp_path / "deploy/supervisor/run.conf").write_text(RUN)
    supervision.Supervisor(tmp_path).prepare_folder()
    expected = 0o711 if os.geteuid() == 0 else 0o700
    assert (tmp_path / ".run").stat().st_mode & 0o777 == expected
    assert (tmp_path / ".run/log").stat().st_mode & 0o777 == 0o700
