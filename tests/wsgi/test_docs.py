"""The commands and programs of docs/wsgi.md and docs/gunicorn.md run."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from tests.redis_server import AVAILABLE, RedisServer, free_port
from tests.wsgi.guides import Guide, run, start
from tests.wsgi.http import ask, get, messages, until
from tests.wsgi.servers import Child


def program(guide: Guide, contains: str) -> str:
    (found,) = [text for text in guide.scripts if contains in text]
    return found


def test_pywsgi_and_publish() -> None:
    guide = Guide.read("wsgi.md")
    port = free_port()
    serving = program(guide, "serve_forever").replace("8088", str(port))
    with Child([sys.executable, "-c", serving], wait=None) as server:
        run(shlex.join(["python", "-c", program(guide, "rplx.publish")]), Path(), {"RPLX_IN": "%s:%d" % server.in_})
        answer = ask(("127.0.0.1", port), get("/?identifier=1:news"))
        assert messages(answer.body) == [{"title": "Hello"}, [1, 2, 3]]
        answer = ask(("127.0.0.1", port), get("/?identifier=1:news,user_7"))
        assert messages(answer.body)[-1] == "for some"


@pytest.mark.parametrize(("page", "number"), [("wsgi.md", 0), ("gunicorn.md", 0)])
def test_gunicorn(page: str, number: int) -> None:
    command = Guide.read(page).commands[number]
    if " -b " not in command:
        command += " -b any"
    with start(command, Path(), in_=None) as server:
        assert ask(server.wait, get("/?identifier=a&position=1")).body == b" \r\n"


def test_a_configuration_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        program(Guide.read("gunicorn.md"), "import *").replace("0.0.0.0:8088", "127.0.0.1:0")
    )
    with start("gunicorn -c own.py --log-level debug rplx.wsgi:application", tmp_path) as server:
        assert ask(server.wait, get("/?identifier=a&position=1")).body == b" \r\n"
        server.wait_for("worker_connections: 50000")
        server.wait_for("keepalive: 10")


@pytest.mark.skipif(not AVAILABLE and not os.environ.get("CI"), reason="needs redis-server")
def test_several_workers() -> None:
    (text,) = [text for text in Guide.read("gunicorn.md").commands if "RPLX_ENGINE_URL" in text]
    variable, _, command = text.partition("\n")[2].partition(" ")
    name, _, url = variable.partition("=")
    with RedisServer() as redis, start(command, Path(), {name: url.replace("6379", str(redis.port))}) as server:
        until(lambda: sum("Booting worker" in line for line in server.log) == 4, 10)
        assert ask(server.wait, get("/?identifier=a&position=1")).body == b" \r\n"
