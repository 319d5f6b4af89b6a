"""The files that keep packages from starting services, with files of others, and after a kill at any time."""

from pathlib import Path

import pytest

from deploy.run import apt
from deploy.run.apt import Files
from deploy.run.screen import Failure

PACKAGED = "# as the package has it\n"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = Files(tmp_path)
    for folder in ("usr/sbin", "etc", "usr/share/postgresql-common"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "usr/share/postgresql-common/createcluster.conf").write_text(PACKAGED)
    return made


def test_services_are_refused_while_packages_are_installed(files: Files):
    files.put({"b", "a"})
    assert files.policy.read_text().startswith("#!/bin/sh\n")
    assert files.policy.read_text().endswith("\nexit 101\n")
    assert files.policy.stat().st_mode & 0o777 == 0o755
    assert files.clusters.read_text().endswith("\ncreate_main_cluster = false\n")
    assert files.recorded() == {"a", "b"}


def test_all_is_gone_afterwards_and_the_package_has_its_own_file(files: Files):
    files.put({"a"})
    files.remove()
    files.finish()
    assert not files.policy.exists()
    assert files.clusters.read_text() == PACKAGED
    assert not files.record.parent.exists()
    assert not files.left()


def test_without_the_package_nothing_takes_the_place_of_our_file(files: Files):
    (files.root / "usr/share/postgresql-common/createcluster.conf").unlink()
    files.put({"a"})
    files.remove()
    assert not files.clusters.exists()


def test_files_of_somebody_else_stay_as_they_are(files: Files):
    files.clusters.parent.mkdir()
    for path in (files.policy, files.clusters):
        path.write_text("theirs\n")
    files.put({"a"})
    files.remove()
    files.finish()
    assert [path.read_text() for path in (files.policy, files.clusters)] == ["theirs\n", "theirs\n"]


def test_what_a_killed_run_left_is_recognised_and_removed(files: Files):
    files.put({"a"})
    assert Files(files.root).left()
    Files(files.root).put({"a", "b"})
    Files(files.root).remove()
    assert not files.policy.exists()
    assert files.left(), "the packages are still to be repaired"
    assert files.recorded() == {"a", "b"}


@pytest.mark.parametrize("name", ["policy", "clusters", "record"])
def test_each_of_the_files_alone_shows_an_interrupted_run(files: Files, name: str):
    files.put({"a"})
    for other in {"policy", "clusters", "record"} - {name}:
        getattr(files, other).unlink()
    assert files.left()


def test_a_half_written_file_is_removed_too(files: Files):
    draft = files.policy.with_name("policy-rc.d.ws-gateway")
    draft.write_text("#!/bi")
    files.remove()
    assert not draft.exists()


def test_a_machine_that_nothing_was_installed_on_shows_no_interrupted_run(files: Files):
    assert not files.left()
    files.finish()


def test_packages_that_wait_for_a_trigger_alone_are_finished():
    states = {"a": "installed", "b": "half-configured", "c": "unpacked", "d": "half-installed"}
    states |= {"e": "triggers-pending", "f": "config-files", "g": "not-installed"}
    assert apt.unfinished(states) == {"b", "c", "d"}


def test_packages_that_somebody_else_left_unfinished_are_named_with_the_remedy():
    with pytest.raises(Failure, match=r"not by us: x, y\.\nFinish them as root with `dpkg --configure -a`"):
        apt.refuse_unfinished({"y", "x"})
    apt.refuse_unfinished(set())
