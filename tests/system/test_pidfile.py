"""The pid file: whatever stands in its place, nothing else is written or removed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rplx.errors import ConfigError
from rplx.system import pidfile
from tests.system.test_privileges import SETPRIV, as_root

OURS = f"{os.getpid()}\n"


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A file that must stay as it is."""
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "elsewhere" / "victim"
    file.write_text("precious")
    yield file
    assert file.read_text() == "precious"
    assert not file.is_symlink()


def test_it_is_there_while_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with pidfile.held(str(file)):
        assert file.read_text() == OURS
        assert file.stat().st_mode & 0o7777 == 0o644
        assert os.listdir(tmp_path) == ["pid"]
    assert os.listdir(tmp_path) == []


def test_an_error_takes_it_away_too(tmp_path: Path) -> None:
    with pytest.raises(KeyError), pidfile.held(str(tmp_path / "pid")):
        raise KeyError
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_what_another_name_leads_to_is_not_written(victim: Path, tmp_path: Path, make: object) -> None:
    file = tmp_path / "pid"
    make(victim, file)  # type: ignore[operator]
    with pidfile.held(str(file)):
        assert not file.is_symlink()
        assert file.read_text() == OURS
    assert not file.exists()


def test_a_link_to_what_is_not_there_makes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    file.symlink_to(tmp_path / "new")
    with pidfile.held(str(file)):
        assert os.listdir(tmp_path) == ["pid"]


def test_a_pipe_in_its_place_holds_up_nobody(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    os.mkfifo(file)
    with pidfile.held(str(file)):
        assert file.read_text() == OURS


def test_a_stale_one_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    file.write_text("1234567890123\n")
    with pidfile.held(str(file)):
        assert file.read_text() == OURS


class TestRemoval:
    def test_not_of_another_daemons(self, tmp_path: Path) -> None:
        file = tmp_path / "pid"
        with pidfile.held(str(file)):
            file.write_text("77\n")
        assert file.read_text() == "77\n"

    def test_not_of_a_link_that_has_come_since(self, victim: Path, tmp_path: Path) -> None:
        file = tmp_path / "pid"
        with pidfile.held(str(file)):
            file.unlink()
            file.symlink_to(victim)
        assert file.is_symlink()

    def test_in_the_folder_where_it_was_written(self, victim: Path, tmp_path: Path) -> None:
        """Whoever may rename the folder has nothing removed in another."""
        folder = tmp_path / "run"
        folder.mkdir()
        with pidfile.held(str(folder / "victim")):
            folder.rename(tmp_path / "moved")
            folder.symlink_to(victim.parent)
        assert os.listdir(tmp_path / "moved") == []

    def test_of_one_that_is_gone(self, tmp_path: Path) -> None:
        with pidfile.held(str(tmp_path / "pid")):
            (tmp_path / "pid").unlink()


@as_root
class TestFolders:
    def test_through_somebodys_link_root_does_not_go(self, victim: Path, tmp_path: Path) -> None:
        link = tmp_path / "run"
        link.symlink_to(victim.parent)
        os.lchown(link, 65534, 65534)
        with pytest.raises(ConfigError, match=r"run is a symbolic link of user 65534"), pidfile.held(f"{link}/pid"):
            pass
        assert os.listdir(victim.parent) == ["victim"]

    def test_through_roots_own_it_does(self, tmp_path: Path) -> None:
        """/var/run is one."""
        (tmp_path / "run").symlink_to(tmp_path)
        with pidfile.held(f"{tmp_path}/run/pid"):
            assert (tmp_path / "pid").read_text() == OURS

    def test_a_file_made_for_a_user_who_may_not_write_the_folder(self) -> None:
        code = (
            "import os, sys\nfrom rplx.system import pidfile\n"
            "with pidfile.held(sys.argv[1]): print(open(sys.argv[1]).read() == f'{os.getpid()}\\n')"
        )
        folder = Path("/run/rplx-test-pidfile")
        folder.mkdir(mode=0o755, exist_ok=True)
        try:
            file = folder / "pid"
            file.write_text("a long text that was there before\n")
            os.chown(file, 65534, 65534)
            as_nobody = [*SETPRIV[:4], sys.executable, "-c", code, str(file)]
            done = subprocess.run(as_nobody, capture_output=True, text=True, check=False)
            if "Permission denied" in done.stderr and "rplx" not in done.stderr:
                pytest.skip("nobody may not run this Python")
            assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr
        finally:
            file.unlink(missing_ok=True)
            folder.rmdir()


@pytest.mark.parametrize("path", ["/no/such/dir/pid", "/dev/null/pid", "/proc/pid"])
def test_where_none_can_be(path: str) -> None:
    with pytest.raises(ConfigError, match=rf"^cannot write the pid file {path}: \w"), pidfile.held(path):
        pass
