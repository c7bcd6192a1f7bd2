"""Versions of a run's folder: made at once or not at all, and any of them used again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tabcf.errors import RunError
from tabcf.run.manifest import fingerprints, write_manifest
from tabcf.run.versions import (
    add_version,
    read_versions,
    rollback,
    version_folder,
    version_in_use,
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder as that of a run: one file and its manifest."""
    folder = tmp_path / "run"
    folder.mkdir()
    _write(folder, 1)
    return folder


def _write(folder: Path, number: int) -> None:
    (folder / "weights").write_text(f"of version {number}")
    write_manifest(folder, fingerprints(folder, [folder / "weights"]))


def _add(home: Path, based_on: int) -> int:
    return add_version(home, _write, kind="update", based_on=based_on, summary="some events")


def test_a_run_is_its_own_first_version(home: Path) -> None:
    (only,) = read_versions(home)
    assert (only.version, only.kind, only.based_on, only.is_used) == (1, "fit", None, True)
    assert not (home / "versions.json").exists()


def test_versions_follow_each_other_and_any_can_be_used_again(home: Path) -> None:
    assert [_add(home, 1), _add(home, 2)] == [2, 3]
    assert (version_folder(home, 3) / "weights").read_text() == "of version 3"
    assert rollback(home) == 2
    assert rollback(home) == 1
    with pytest.raises(RunError, match="version 1 in use is the first one"):
        rollback(home)
    assert rollback(home, 3) == 3
    assert rollback(home, 1) == 1
    assert _add(home, 1) == 4, "a number is never used twice"
    found = read_versions(home)
    assert [v.based_on for v in found] == [None, 1, 2, 1]
    assert [v.version for v in found if v.is_used] == [4]
    assert found[0].made <= found[1].made <= found[3].made
    assert rollback(home) == 1, "it goes back to what the version grew from"


def test_a_version_grows_only_from_the_one_in_use(home: Path) -> None:
    _add(home, 1)
    before = sorted(home.rglob("*"))
    with pytest.raises(RunError, match="grows from version 1, but version 2 is in use by now"):
        _add(home, 1)
    assert sorted(home.rglob("*")) == before


def test_what_fails_leaves_the_run_as_it_was(home: Path) -> None:
    def fails(folder: Path, number: int) -> None:
        _write(folder, number)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        add_version(home, fails, kind="update", based_on=1, summary="")
    assert version_in_use(home) == 1
    assert not list((home / "versions").iterdir())
    assert _add(home, 1) == 2


def test_what_a_killed_process_left_is_no_version_and_goes(home: Path) -> None:
    left = home / "versions" / "2"
    left.mkdir(parents=True)
    _write(left, 99)
    (home / "versions" / ".2.abc").mkdir()
    assert version_in_use(home) == 1
    assert _add(home, 1) == 2
    assert (left / "weights").read_text() == "of version 2"
    assert [path.name for path in (home / "versions").iterdir()] == ["2"]


def test_a_version_that_was_changed_is_not_gone_back_to(home: Path) -> None:
    _add(home, 1)
    _add(home, 2)
    (version_folder(home, 2) / "weights").write_text("other")
    with pytest.raises(RunError, match="the file weights was changed after the run was saved"):
        rollback(home)
    assert version_in_use(home) == 3
    assert rollback(home, 1) == 1


def test_wrong_numbers_and_files_are_said(home: Path, tmp_path: Path) -> None:
    _add(home, 1)
    with pytest.raises(RunError, match="no version 7; there are: 1, 2"):
        rollback(home, 7)
    (home / "versions.json").write_text('{"format": 9}')
    with pytest.raises(RunError, match=r"versions\.json: expected format 1"):
        read_versions(home)
    (home / "versions.json").write_text('{"format": 1, "used": 1, "versions": [{"no": 1}]}')
    with pytest.raises(RunError, match=r"versions\.json: cannot be read"):
        rollback(home)
    with pytest.raises(RunError, match="no such folder"):
        read_versions(tmp_path / "nowhere")


def test_two_processes_do_not_grow_it_at_once(home: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    handle = os.open(home, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(RunError, match="another process is changing it"):
        _add(home, 1)
    with pytest.raises(RunError, match="another process is changing it"):
        rollback(home)
    os.close(handle)
    assert _add(home, 1) == 2
