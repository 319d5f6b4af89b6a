"""Which supervised programs `make run` gives up on."""

from deploy.run.failing import Failing
from deploy.run.supervision import Program


def after(*looks: tuple[float, Program]) -> dict[str, str]:
    failing = Failing()
    for now, program in looks:
        failing.look([program], now)
    return failing.programs


def test_an_end_over_a_wrong_setting_is_final_at_once():
    assert after((0.0, Program("api", "EXITED", 78))) == {"api": "a setting is wrong"}


def test_a_start_after_an_end_over_a_wrong_setting_counts_again():
    assert after((0.0, Program("api", "RUNNING", 78))) == {}


def test_a_program_that_ends_otherwise_is_given_some_seconds():
    assert after((0.0, Program("api", "EXITED", 1))) == {}
    failing = [(since, Program("rabbitmq", "BACKOFF", 0)) for since in (0.0, 6.0, 6.1)]
    assert after(*failing[:2]) == {}
    assert after(*failing) == {"rabbitmq": "it keeps ending"}
    assert after(failing[0], (3.0, Program("rabbitmq", "RUNNING", 0)), failing[2]) == {}
