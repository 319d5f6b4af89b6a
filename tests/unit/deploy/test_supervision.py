"""The configuration of supervisord."""

import configparser
from pathlib import Path

import simulator.settings
from common import entrypoint
from deploy.run import supervision
from tests.servers import ROOT

RUN = (ROOT / "deploy/supervisor/run.conf").read_text()
CONTAINER = (ROOT / "deploy/supervisor/container.conf").read_text()


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


def test_nobody_reaches_supervisord_over_the_network() -> None:
    assert "inet_http_server" not in RUN + CONTAINER
    assert parsed(RUN)["unix_http_server"]["chmod"] == parsed(CONTAINER)["unix_http_server"]["chmod"] == "0700"
