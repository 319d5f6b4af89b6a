"""How a process ends when a setting is wrong."""

import pytest

from common import entrypoint
from common.errors import ConfigError


def test_a_wrong_setting_is_one_line_and_status_78(capsys: pytest.CaptureFixture[str]):
    def main() -> int:
        raise ConfigError("A='b': must be c")

    with pytest.raises(SystemExit) as ended:
        entrypoint.run("api", main)
    assert ended.value.code == 78
    assert capsys.readouterr() == ("", "api: A='b': must be c\n")


def test_what_main_returns_is_passed_on():
    assert entrypoint.run("api", lambda: 3) == 3


def test_any_other_error_is_ours_and_keeps_its_traceback():
    def main() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        entrypoint.run("api", main)
