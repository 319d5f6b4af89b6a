"""How a connection authenticates, and what a refusal means."""

import pytest

from ingestor.bybit.auth import TRANSIENT, Refusal, refusal, signature


def test_the_signature_is_the_documented_one():
    expected = "49a306f2e33774b3492b30b06948a6d1f6116e549323e6cfb3ab40f421755f9b"
    assert signature("test-secret", 1786106096123) == expected


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (10002, "skew"),
        (10003, "key"),
        (10004, "key"),
        (10005, "permission"),
        (10007, "key"),
        (10009, "ip"),
        (10010, "ip"),
        (33004, "expired"),
    ],
)
def test_a_refusal_s_code_goes_before_its_text(code: int, kind: str):
    assert refusal("Params Error", code) == kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Too many sessions under the same UID", "sessions"),
        ("Unmatched IP, please check your API key's bound IP addresses.", "ip"),
        ("Your api key has expired.", "expired"),
        ("Params Error", "skew"),
        ("Request expired", "skew"),
        ("Permission denied, please check your API key permissions.", "permission"),
        ("API key is invalid.", "key"),
        ("error:verify signature fail", "key"),
        ("something else", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_refusal_without_a_known_code_is_understood_by_its_text(text: str, kind: str):
    assert refusal(text) == refusal(text, 99999) == kind


def test_a_clock_and_a_crowd_pass_and_anything_else_needs_a_person():
    assert set(TRANSIENT) == {Refusal.SKEW, Refusal.SESSIONS}
