"""The Dockerfile's own lines, run without Docker: what it builds in a fresh environment, its commands in a network of
their own, where its ports are free and an address beside the loopback one stands for the machine outside."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.checkout import Checkout

ROOT = Path(__file__).parents[2]
LINES = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text()).splitlines()
UNSHARE = ["unshare", "--user", "--map-root-user", "--net"]
OUTSIDE = "10.88.0.1"

# Runs inside the network: starts the server, asks what it is told to, ends it, and prints what it saw.
DRIVER = f"""
import http.client, json, os, signal, subprocess, sys, time
entry, health, env, asks = json.loads(sys.argv[1])
subprocess.run("ip link set lo up && ip addr add {OUTSIDE}/32 dev lo", shell=True, check=True)
env = {{**os.environ, **env}}

def healthy():
    return subprocess.run(health, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode

def publish(host, port):
    connection = http.client.HTTPConnection(host, port, timeout=120)
    try:
        connection.request("POST", "/", "1", {{"X-Realplexor": "identifier=a"}})
        return connection.getresponse().status
    except ConnectionRefusedError:
        return None

seen = {{"before": healthy()}}
server = subprocess.Popen(entry, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
log = []
for line in server.stdout:
    log.append(line)
    if line.startswith("IN: listening"):
        break
for _ in range(200):
    seen["health"] = healthy()
    if seen["health"] == 0 or server.poll() is not None:
        break
    time.sleep(0.05)
seen["sent"] = [publish(*ask) for ask in asks]
server.send_signal(signal.SIGTERM)
seen["log"] = "".join(log) + server.stdout.read()
seen["status"] = server.wait()
print(json.dumps(seen))
"""


def instruction(name: str) -> str:
    return [line for line in LINES if line.startswith(f"{name} ")][-1].partition(" ")[2]


def command(text: str) -> list[str]:
    found: list[str] = json.loads(text[text.index("[") :])
    return found


@pytest.fixture(scope="module")
def image(checkout: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first stage builds and the second copies, below a folder."""
    root = tmp_path_factory.mktemp("image")
    ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", "node_modules", "build", "dist", "*.egg-info")
    shutil.copytree(ROOT, root / "source", ignore=ignored)
    (build,) = [line.partition(" ")[2] for line in LINES if line.startswith("RUN python")]
    build = build.replace("python -m", f"{sys.executable} -m", 1)
    build = build.replace("/opt/", f"{root}/opt/").replace("/source", f"{root}/source")
    subprocess.run(["/bin/sh", "-c", build], env={**os.environ, **checkout.pip}, check=True, capture_output=True)
    (copied,) = [line.split()[1:] for line in LINES if line.startswith("COPY conf")]
    folder = Path(f"{root}{copied.pop()}")
    folder.mkdir(parents=True)
    for name in copied:
        text = (ROOT / name).read_text().replace("/var/lib/", f"/{root}/var/lib/".replace("//", "/"))
        (folder / Path(name).name).write_text(text)
    (volume,) = [line.partition(" ")[2] for line in LINES if line.startswith("VOLUME ")]
    assert any(line.startswith("RUN ") and line.endswith(f" -o 10088 -g 10088 {volume}") for line in LINES)
    Path(f"{root}{volume}").mkdir(parents=True)
    return root


def run(image: Path, *asks: tuple[str, int], **environ: str) -> dict[str, Any]:
    """What happens in a container with these variables: as the image sets its own, and starts and asks the server."""
    own = dict(pair.split("=", 1) for pair in shlex.split(instruction("ENV")))
    own["PATH"] = own["PATH"].replace("$PATH", os.environ["PATH"])
    env = {name: re.sub("(?<![a-z])/(?=etc|opt)", f"{image}/", value) for name, value in own.items()} | environ
    entry, health = (
        [word.replace("/etc/", f"{image}/etc/") for word in command(instruction(name))]
        for name in ("ENTRYPOINT", "HEALTHCHECK")
    )
    given = json.dumps([entry, health, env, asks])
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RPLX_")}
    line = [*UNSHARE, sys.executable, "-c", DRIVER, given]
    done = subprocess.run(
        line, capture_output=True, text=True, timeout=120, env=clean | {"PATH": env["PATH"]}, check=False
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    assert seen["before"] == 1
    assert seen["status"] == 0, seen["log"]
    return seen


def documented(name: str) -> dict[str, str]:
    """The variables of the documented command that has `name` in it."""
    (line,) = [line for line in LINES if line.startswith("#   docker run") and name in line]
    words = line.split()
    return dict(words[place + 1].split("=", 1) for place, word in enumerate(words) if word == "-e")


def test_the_user_is_a_number() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", instruction("USER"))


def _has_networks() -> bool:
    if not shutil.which("unshare") or not shutil.which("ip"):
        return False
    return subprocess.run([*UNSHARE, "ip", "link", "set", "lo", "up"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _has_networks(), reason="no network namespaces here")
class TestCommands:
    def test_the_documented_line_publishes_from_the_host(self, image: Path) -> None:
        environ = documented("RPLX_IN_GUESTS_LOOPBACK_ONLY")
        seen = run(image, (OUTSIDE, 10010), **environ)
        assert (seen["sent"], seen["health"]) == ([200], 0)

    def test_of_itself_nobody_outside_may(self, image: Path) -> None:
        seen = run(image, (OUTSIDE, 10010), ("127.0.0.1", 10010))
        assert (seen["sent"], seen["health"]) == ([403, 200], 0)
        assert "WAIT: listening 0.0.0.0:8088" in seen["log"]

    def test_with_logins_a_password_is_asked_for(self, image: Path, tmp_path: Path) -> None:
        users = tmp_path / "users"
        users.write_text("me:$2b$04$" + "a" * 53 + "\n")
        (name,) = documented("RPLX_USERS_FILE")
        seen = run(image, (OUTSIDE, 10010), ("127.0.0.1", 10010), **{name: str(users)})
        assert seen["sent"] == [403, 403]

    def test_variables_win(self, image: Path) -> None:
        environ = {"RPLX_WAIT_LISTEN": "127.0.0.1:9000", "RPLX_IN_LISTEN": "127.0.0.1:9001"}
        seen = run(image, ("127.0.0.1", 9001), (OUTSIDE, 9001), ("127.0.0.1", 10010), **environ)
        assert (seen["sent"], seen["health"]) == ([200, None, None], 0)
        assert "WAIT: listening 127.0.0.1:9000" in seen["log"]

    def test_the_file_wins(self, image: Path) -> None:
        file = image / "etc/rplx/rplx.toml"
        kept = file.read_text()
        file.write_text('[wait]\nlisten = ["127.0.0.1:9000"]\n[in]\nlisten = ["127.0.0.1:9001"]\n')
        try:
            seen = run(image, ("127.0.0.1", 9001), (OUTSIDE, 9001), ("127.0.0.1", 10010))
        finally:
            file.write_text(kept)
        assert (seen["sent"], seen["health"]) == ([200, None, None], 0)

    def test_a_file_of_ones_own_keeps_what_the_image_sets(self, image: Path, tmp_path: Path) -> None:
        file = tmp_path / "mine.toml"
        file.write_text("[in]\nguests_loopback_only = false\n")
        seen = run(image, (OUTSIDE, 10010), RPLX_CONFIG=str(file))
        assert (seen["sent"], seen["health"]) == ([200], 0)
