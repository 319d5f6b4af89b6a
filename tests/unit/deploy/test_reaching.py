"""Whether an unprivileged user may pass through a folder."""

import os
from pathlib import Path

import pytest

from deploy.servers.reaching import SystemUser, may_pass, private_parent

STRANGER = SystemUser(54321, 54321)
OWNER, MEMBER = SystemUser(os.geteuid(), 54321), SystemUser(54321, os.getegid())


@pytest.mark.parametrize(
    ("mode", "account", "passes"),
    [
        (0o701, STRANGER, True),
        (0o770, STRANGER, False),
        (0o100, OWNER, True),
        (0o011, OWNER, False),
        (0o010, MEMBER, True),
        (0o701, MEMBER, False),
    ],
)
def test_the_bits_of_the_first_class_that_fits_decide(tmp_path: Path, mode: int, account: SystemUser, passes: bool):
    tmp_path.chmod(mode)
    try:
        assert may_pass(tmp_path, account) is passes
    finally:
        tmp_path.chmod(0o700)


def test_the_topmost_private_folder_is_the_one_in_the_way(tmp_path: Path):
    (tmp_path / "a/b").mkdir(parents=True, mode=0o700)
    found = private_parent(tmp_path / "a/b/c", STRANGER)
    assert found is not None
    assert not may_pass(found, STRANGER)
    assert all(may_pass(parent, STRANGER) for parent in found.parents)
    assert private_parent(Path("/usr/bin"), STRANGER) is None
