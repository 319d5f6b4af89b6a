"""The .env of a fresh clone."""

from io import StringIO
from itertools import count
from pathlib import Path

from dotenv import dotenv_values

from common.settings import Environment
from deploy.run import env_file
from deploy.run.settings import Settings
from tests.kit.servers import ROOT

EXAMPLE = (ROOT / "env.example").read_text(encoding="utf-8")


def test_only_empty_variables_marked_random_get_a_secret() -> None:
    numbers = count(1)
    example = "# [random]\nA=\n# [random]\nB=mine\nC=\n# a note\nD=\n"
    assert env_file.rendered(example, lambda: f"s{next(numbers)}") == (
        "# [random]\nA=s1\n# [random]\nB=mine\nC=\n# a note\nD=\n"
    )


def test_the_example_marks_every_secret_that_has_no_default() -> None:
    made = dotenv_values(stream=StringIO(env_file.rendered(EXAMPLE, lambda: "random")))
    secrets = [name for name, value in made.items() if value == "random"]
    assert secrets == ["POSTGRES_PASSWORD", "RABBITMQ_PASSWORD", "WS_GATEWAY_API_KEY"]
    assert all(made.values())


def test_the_example_is_all_that_a_start_needs() -> None:
    made = dotenv_values(stream=StringIO(env_file.rendered(EXAMPLE, env_file.new_secret)))
    found = Settings.from_env({name: value for name, value in made.items() if value is not None})
    assert found.programs() == ["postgres", "rabbitmq", "simulator", "ingestor", "persister", "api"]
    assert sorted(port.number for port in found.ports()) == [4400, 4401, 4402, 4432, 4472, 4473, 4474, 4475, 4480]


def test_a_made_file_is_private_and_an_existing_one_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "env.example").write_text("# [random]\nA=\n")
    assert env_file.make(tmp_path)
    first = (tmp_path / ".env").read_text()
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert not env_file.make(tmp_path)
    assert (tmp_path / ".env").read_text() == first


def test_every_variable_of_the_example_can_be_read() -> None:
    """With the comment signs gone, the optional ones have to be sound as well."""
    lines = [line.removeprefix("#") for line in EXAMPLE.splitlines() if "=" in line and not line.startswith("# ")]
    values = {name: value for name, _, value in (line.partition("=") for line in lines)}
    env = Environment(values | dict.fromkeys(("POSTGRES_PASSWORD", "RABBITMQ_PASSWORD", "WS_GATEWAY_API_KEY"), "x"))
    Settings.from_env(env._values)
    env.checked()
