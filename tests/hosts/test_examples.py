"""The examples, under gunicorn and under the development servers of their frameworks."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.http import Client, ask, eventually, get, messages, online
from tests.hosts.servers import HOOKS, ROOT, Server, gunicorn
from tests.pages.surroundings import CHROMIUM, HAS_BROWSER

USE_INSTEAD = "use gunicorn -k gevent, gevent.pywsgi or rplx serve"
BIN = Path(sys.executable).parent
FLASK, DJANGO = ROOT / "examples/flask", ROOT / "examples/django"
APPLICATIONS = {"flask": (FLASK, "app:app"), "django": (DJANGO, "mysite.wsgi:application")}
DEVELOPMENT = {
    "flask": (FLASK, "flask --app app run --port 0", r"Running on http://(127\.0\.0\.1):(\d+)"),
    "django": (
        DJANGO,
        "python manage.py runserver --noreload 127.0.0.1:0",
        r"server at http://(127\.0\.0\.1):(\d+)",
    ),
}


@pytest.fixture(scope="module", params=APPLICATIONS)
def example(request: pytest.FixtureRequest) -> Iterator[Server]:
    folder, application = APPLICATIONS[request.param]
    with gunicorn(*HOOKS, application=application, cwd=folder) as server:
        yield server
    assert not [line for line in server.log if "Error" in line or "Traceback" in line], "\n".join(server.log)


@pytest.fixture(params=DEVELOPMENT)
def development(request: pytest.FixtureRequest) -> Iterator[Server]:
    folder, command, listening = DEVELOPMENT[request.param]
    program, *arguments = shlex.split(command)
    options = {"PYTHONUNBUFFERED": "1"}
    with Server([str(BIN / program), *arguments], options, wait=listening, in_=None, cwd=folder) as server:
        yield server


def test_the_page_and_its_script(example: Server) -> None:
    page = ask(example.wait, get("/"))
    assert page.status == "200 OK"
    assert b"new Dklab_Realplexor('/rpl/')" in page.body
    (script,) = re.findall(rb'<script src="([^"]+)">', page.body)
    answer = ask(example.wait, get(script.decode()))
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert b"Dklab_Realplexor" in answer.body


def test_a_view_publishes(example: Server) -> None:
    page = ask(example.wait, get("/"))
    body, cookie = b"text=from+a+view", ""
    if token := re.search(rb'name="csrfmiddlewaretoken" value="(\w+)"', page.body):
        body += b"&csrfmiddlewaretoken=" + token[1]
        cookie = "Cookie: " + page.headers["set-cookie"].partition(";")[0] + "\r\n"
    client = Client(example.wait, get("/rpl/?identifier=chat"))
    eventually(lambda: online(example.in_).get("chat") == 1)
    head = f"POST /say HTTP/1.1\r\nHost: 127.0.0.1\r\n{cookie}Content-Length: {len(body)}\r\n"
    head += "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    assert ask(example.wait, head.encode() + body).status.lower() == "204 no content"
    assert messages(client.read().body) == [{"text": "from a view"}]


def test_development_servers_refuse_polls_alone(development: Server) -> None:
    assert ask(development.wait, get("/")).status == "200 OK"
    answer = ask(development.wait, get("/rpl/?identifier=chat"))
    assert answer.status.lower() == "503 service unavailable"
    assert USE_INSTEAD in answer.body.decode()
    script = ask(development.wait, get("/rpl/?identifier=SCRIPT"))
    assert script.status == "200 OK"
    assert b"/rpl/" in ask(development.wait, get("/rpl/?identifier=IFRAME")).body
    development.wait_for(f"rplx: polls are not served: .*{USE_INSTEAD}")


@pytest.mark.skipif(not HAS_BROWSER, reason="needs node, chromium, npm ci in js/")
def test_the_browsers_console_says_what_to_use_instead(development: Server) -> None:
    address = "http://127.0.0.1:%d/" % development.wait[1]
    command = ["node", str(ROOT / "tests/hosts/console.mjs"), address, str(CHROMIUM)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.startswith("Realplexor: HTTP 503: a poll would hold a whole thread"), done.stderr
    assert USE_INSTEAD in done.stdout
