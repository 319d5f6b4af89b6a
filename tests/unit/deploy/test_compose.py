"""docker-compose.yml, deploy/nginx.conf and the api agree."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.http import json_body
from api.http.errors import title_of
from api.settings import Rates, Settings

ROOT = Path(__file__).parents[3]
NGINX = (ROOT / "deploy" / "nginx.conf").read_text()
NEEDED = {"POSTGRES_PASSWORD": "-", "RABBITMQ_PASSWORD": "-", "WS_GATEWAY_API_KEY": "-"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return found


def test_the_api_is_published_through_nginx_alone(services: dict[str, Any]):
    assert "ports" not in services["ws-gateway"]
    [published] = services["nginx"]["ports"]
    assert published.endswith(f":{_said('listen (.*);')}")


def test_every_port_is_published_to_this_machine_alone(services: dict[str, Any]):
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) >= 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_nginx_is_the_proxy_that_the_api_believes(services: dict[str, Any]):
    believed = services["ws-gateway"]["environment"]["WS_GATEWAY_PROXIES"]
    assert believed == services["nginx"]["networks"]["front"]["ipv4_address"]
    [network] = Settings.from_env(NEEDED | {"WS_GATEWAY_PROXIES": believed}).proxies
    assert network.num_addresses == 1


def test_the_gateway_uses_the_servers_of_the_file_whatever_env_names(services: dict[str, Any]):
    elsewhere = {"DATABASE_URL": "postgresql://me:p@elsewhere/db", "RABBITMQ_URL": "amqp://me:p@elsewhere"}
    found = Settings.from_env(NEEDED | elsewhere | services["ws-gateway"]["environment"] | NEEDED)
    assert found.postgres.hosts == (("postgres", 5432),)
    assert found.rabbitmq.hosts == (("rabbitmq", 5672),)


def test_nginx_passes_on_to_the_api(services: dict[str, Any]):
    name, port = _said(r"server (\S+) max_fails").split(":")
    assert port == services[name]["environment"]["WS_GATEWAY_PORT"]


def test_nginx_draws_the_lines_that_the_api_draws():
    rates: Rates = Settings.from_env(NEEDED).rates
    assert _said("client_max_body_size (.*)k;") == str(json_body.MAX_BYTES // 1024)
    assert _said(r"rate=(\d+)r/s") == str(rates.of_an_address)


def test_nginx_calls_a_refusal_as_the_api_does():
    titles = re.findall(r'"title":"([^"]+)","status":(\d+)', NGINX)
    assert len(titles) == 9
    assert [(title, status) for title, status in titles if title != title_of(int(status))] == []
    assert title_of(422) == "Unprocessable Content"


def _said(pattern: str) -> str:
    [found] = re.findall(pattern, NGINX)
    return str(found)


@pytest.mark.parametrize(("service", "image"), [("postgres", "postgres:17"), ("rabbitmq", "rabbitmq:4.3-management")])
def test_the_image_of_a_server_is_a_setting(services: dict[str, Any], service: str, image: str):
    variable = f"{service.upper()}_IMAGE"
    assert services[service]["image"] == f"${{{variable}:-{image}}}"
    assert f"#{variable}={image}\n" in (ROOT / "env.example").read_text()


def test_only_the_simulator_has_the_simulators_packages(services: dict[str, Any]):
    stages = re.split(r"^FROM .* AS ", (ROOT / "deploy/Dockerfile").read_text(), flags=re.MULTILINE)
    installing = {text.split()[0]: re.findall(r"-r (requirements\S*\.lock)", text) for text in stages[1:]}
    assert installing == {
        "base": ["requirements.lock", "requirements-build.lock"],
        "simulator": ["requirements-simulator.lock"],
        "gateway": [],
    }
    built = {name: services[name]["build"]["target"] for name in ("simulator", "ws-gateway")}
    assert built == {"simulator": "simulator", "ws-gateway": "gateway"}
