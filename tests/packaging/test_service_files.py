"""The systemd unit, the init script and the installer."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rplx.errors import ConfigError
from rplx.options.reading import load
from rplx.options.rows import replace
from rplx.options.table import Config
from tests.checkout import Checkout
from tests.live import LiveServer
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
SERVER = 'wait.listen = ["127.0.0.1:0"]\nin.listen = ["127.0.0.1:0"]\n'
EXPOSURE_MAX = 2.5  # of 10, as systemd-analyze counts
needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a command and a directory that are on every machine, which systemd-analyze asks for."""
    text = (CONF / "rplx.service").read_text()
    text = text.replace("/opt/rplx/bin/rplx serve", "/bin/true serve").replace("=/etc/rplx", "=/")
    path = tmp_path / "rplx.service"
    path.write_text(text)
    return path


@needs_systemd
def test_systemd_accepts_the_unit(unit: Path) -> None:
    run = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
    assert "rplx.service" not in run.stderr
    assert run.returncode == 0


@needs_systemd
def test_the_unit_is_hardened(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", unit]
    report = subprocess.run(command, capture_output=True, text=True)
    exposure = re.search(r"Overall exposure level for rplx.service: ([\d.]+)", report.stdout)
    assert exposure, report.stderr
    assert float(exposure[1]) <= EXPOSURE_MAX


def test_the_unit_has_what_it_promises() -> None:
    lines = (CONF / "rplx.service").read_text().splitlines()
    promised = ("Type=notify", "NoNewPrivileges=yes", "ProtectSystem=strict", "User=rplx", "LimitNOFILE=262144")
    for line in (*promised, "StateDirectory=rplx"):  # /var/lib/rplx, where conf/rplx.toml keeps history
        assert line in lines


def test_the_sockets_have_the_names_that_the_options_ask_for() -> None:
    """The drop-in's options, and the addresses that the server has by default."""
    drop_in = (CONF / "rplx-sockets.conf").read_text()
    for line, option in (("wait", Config().wait.listen), ("in", Config().in_.listen)):
        unit = (CONF / f"rplx-{line}.socket").read_text().splitlines()
        assert f"RPLX_{line.upper()}_LISTEN=fd:{line}" in drop_in
        assert {f"FileDescriptorName={line}", f"ListenStream={option[0]}", "Service=rplx.service"} <= set(unit)
        assert f"rplx-{line}.socket" in drop_in.partition("\nSockets=")[2]


def commands(name: str) -> list[str]:
    """The unit's commands of this name, in their order."""
    lines = (CONF / "rplx.service").read_text().splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{name}=")]


class TestReloadOfTheUnit:
    """Its commands run as systemd runs them: one after the other, up to the first that fails."""

    def reload(self, server: LiveServer, file: Path) -> bool:
        for command in commands("ExecReload"):
            command = command.replace("/etc/rplx/rplx.toml", str(file)).replace("$MAINPID", str(server.process.pid))
            command = command.replace("/opt/rplx/bin/rplx", f"{sys.executable} -m rplx")
            if subprocess.run(shlex.split(command), capture_output=True, check=False).returncode:
                return False
        return True

    def test_a_good_file_is_taken_and_a_bad_one_fails(self, tmp_path: Path) -> None:
        file = tmp_path / "rplx.toml"
        file.write_text("[wait]\ntimeout = 50\n")
        with LiveServer("--config", str(file)) as server:
            file.write_text("[wait]\ntimeuot = 51\n")
            assert not self.reload(server, file)
            file.write_text("[wait]\ntimeout = 52\n")
            assert self.reload(server, file)
            server.wait_for("Option wait.timeout is changed: 50 -> 52")
            assert sum("SIGHUP received" in line for line in server.log) == 1

    def test_what_is_checked_is_what_is_started(self) -> None:
        (start,) = commands("ExecStart")
        assert commands("ExecReload")[0] == start.replace(" serve ", " serve --check-config ")


def test_wrong_options_are_not_tried_again() -> None:
    assert f"RestartPreventExitStatus={ConfigError.exit_status}" in (CONF / "rplx.service").read_text().splitlines()


def test_logs_are_rotated_as_their_owner() -> None:
    """In a folder of rplx root would follow what rplx puts there."""
    assert "    su rplx rplx" in (CONF / "rplx.logrotate").read_text().splitlines()


class TestInstaller:
    """Into a folder of its own, as packages do it."""

    def install(self, root: Path, checkout: Checkout) -> None:
        environ = {**os.environ, **checkout.pip, "DESTDIR": str(root), "PYTHON": sys.executable}
        done = subprocess.run([CONF / "install-service.sh"], env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def has_redis(self, root: Path) -> bool:
        return (
            subprocess.run(
                [root / "opt/rplx/bin/python", "-c", "import redis"], stderr=subprocess.DEVNULL, check=False
            ).returncode
            == 0
        )

    def test_what_the_configured_engine_needs(self, checkout: Checkout, tmp_path: Path) -> None:
        root = tmp_path
        config = root / "etc/rplx/rplx.toml"
        self.install(root, checkout)
        assert config.stat().st_mode & 0o777 == 0o640
        assert not self.has_redis(root)
        config.write_text('[engine]\nurl = "redis://:secret@localhost/0"\n')
        config.chmod(0o644)
        self.install(root, checkout)
        assert self.has_redis(root)
        assert config.read_text().count("secret") == 1
        if os.getuid() == 0:
            assert config.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("script", ["rplx.init", "install-service.sh"])
def test_scripts_are_plain_sh(script: str) -> None:
    assert (CONF / script).stat().st_mode & 0o111
    subprocess.run(["sh", "-n", CONF / script], check=True)


def test_the_installed_configuration_bounds_the_host_on_in(tmp_path: Path) -> None:
    """The file as the installer makes it, loaded by the server's own loader."""
    line = next(
        line.strip() for line in (CONF / "install-service.sh").read_text().splitlines() if " 's/^#hosts" in line
    )
    command = line.partition(">")[0].replace("$SOURCE", str(ROOT))
    text = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    (tmp_path / "rplx.toml").write_text(text)
    config = load(str(tmp_path / "rplx.toml"), {}, [])
    assert config.in_.hosts == ("localhost", "127.0.0.1", "[::1]")
    assert replace(config, {"in.hosts": ()}) == load(str(CONF / "rplx.toml"), {}, [])


@pytest.mark.skipif(not shutil.which("start-stop-daemon"), reason="start-stop-daemon is not installed")
class TestInitScript:
    """The real server, started, reloaded and stopped by the script."""

    @pytest.fixture
    def service(self, tmp_path: Path) -> Iterator[Callable[[str], tuple[int, str]]]:
        (tmp_path / "rplx.toml").write_text(SERVER)
        daemon = tmp_path / "rplx"
        daemon.write_text(f'#!/bin/sh\ncd "{ROOT}" && exec "{sys.executable}" -m rplx "$@"\n')
        daemon.chmod(0o755)
        values = {"DAEMON": daemon, "CONFIG": tmp_path / "rplx.toml", "RUN_AS": getpass.getuser(), "MAX_FILES": 100}
        values |= {"PIDFILE": tmp_path / "pid", "LOGFILE": tmp_path / "log"}
        values |= {"START_SECONDS": 100, "STOP_SECONDS": 100}  # on a busy machine
        defaults = tmp_path / "defaults"
        defaults.write_text("".join(f'{name}="{value}"\n' for name, value in values.items()))

        def run(action: str) -> tuple[int, str]:
            environ = {"DEFAULTS_FILE": str(defaults), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
            done = subprocess.run([CONF / "rplx.init", action], env=environ, capture_output=True, text=True)
            return done.returncode, done.stdout + done.stderr

        yield run
        run("stop")

    def test_its_life(self, service: Callable[[str], tuple[int, str]], tmp_path: Path) -> None:
        assert service("status") == (3, "rplx is not running\n")
        assert service("reload") == (7, "rplx is not running\n")
        assert service("try-restart") == (0, "")
        code, text = service("start")
        pid = (tmp_path / "pid").read_text().strip()
        assert (code, text) == (0, f"rplx is started, process {pid}\n")
        assert service("start") == (0, f"rplx is already running, process {pid}\n")
        assert service("status") == (0, f"rplx is running, process {pid}\n")
        _wait_for(tmp_path / "log", r"Opened files limit \(ulimit -n\): 100\.")
        _wait_for(tmp_path / "log", r"IN: listening")
        (tmp_path / "rplx.toml").write_text("wait.timeout = 5\n" + SERVER)
        assert service("reload") == (0, "rplx reads its configuration again\n")
        _wait_for(tmp_path / "log", r"Option wait.timeout is changed: 55 -> 5")
        assert service("restart")[0] == 0
        restarted = (tmp_path / "pid").read_text().strip()
        assert restarted != pid
        assert service("stop") == (0, "rplx is stopped\n")
        assert service("stop") == (0, "rplx is not running\n")
        assert service("status") == (3, "rplx is not running\n")
        assert not Path("/proc", restarted).exists() or "Z (zombie)" in Path("/proc", restarted, "status").read_text()

    def test_a_wrong_file_changes_nothing(self, service: Callable[[str], tuple[int, str]], tmp_path: Path) -> None:
        service("start")
        pid = (tmp_path / "pid").read_text()
        (tmp_path / "rplx.toml").write_text("[wait]\ntimeuot = 5\n")
        for action, status in (("reload", 6), ("force-reload", 6), ("restart", 1), ("try-restart", 1)):
            code, text = service(action)
            assert code == status
            assert "unknown option wait.timeuot" in text
            assert text.endswith(f"rplx: {tmp_path}/rplx.toml is wrong, nothing is changed\n")
        assert (tmp_path / "pid").read_text() == pid
        assert service("status")[0] == 0

    def test_a_failed_start_says_why(self, service: Callable[[str], tuple[int, str]], tmp_path: Path) -> None:
        (tmp_path / "rplx.toml").write_text("[wait]\ntimeuot = 5\n")
        code, text = service("start")
        assert code == 1
        assert text.splitlines() == [
            f"rplx did not start, the end of {tmp_path}/log says why:",
            f'{tmp_path}/rplx.toml:2: unknown option wait.timeuot, did you mean "timeout"?',
        ]
        assert service("status") == (3, "rplx is not running\n")

    def test_a_dead_server_is_seen(self, service: Callable[[str], tuple[int, str]], tmp_path: Path) -> None:
        (tmp_path / "pid").write_text("4194304\n")  # the kernel's greatest process id is one less
        assert service("status") == (1, "rplx is not running\n")

    def test_usage(self, service: Callable[[str], tuple[int, str]]) -> None:
        code, text = service("dance")
        assert code == 2
        assert "usage:" in text


def _wait_for(log: Path, pattern: str) -> None:
    eventually(lambda: re.search(pattern, log.read_text()) is not None, told=log.read_text)
