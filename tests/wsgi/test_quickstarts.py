"""The quickstarts do what they say: their files are written, their commands run, their answers compared."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.wsgi.guides import BIN, Guide, run, start
from tests.wsgi.http import Client, ask, get, messages, online, until
from tests.wsgi.servers import ROOT, Child

CHROMIUM = shutil.which("node") and (shutil.which("chromium") or shutil.which("chromium-browser"))
PLAYWRIGHT = ROOT / "js/node_modules/playwright-core"


@pytest.fixture(scope="module")
def flask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Guide, Child, Path]]:
    guide, folder = Guide.read("quickstart-flask.md"), tmp_path_factory.mktemp("flask")
    (folder / "app.py").write_text(guide.files["app.py"])
    with start(guide.command("gunicorn"), folder) as server:
        yield guide, server, folder
    assert not [line for line in server.log if "Error" in line or "Traceback" in line], "\n".join(server.log)


@pytest.fixture(scope="module")
def django(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Guide, Child, Path]]:
    guide, folder = Guide.read("quickstart-django.md"), tmp_path_factory.mktemp("django")
    run(guide.command("django-admin"), folder)
    folder = folder / "mysite"
    assert (folder / "manage.py").exists()
    for name, text in guide.files.items():
        (folder / name).write_text(text)
    with start(guide.command("gunicorn"), folder) as server:
        yield guide, server, folder
    assert not [line for line in server.log if "Error" in line or "Traceback" in line], "\n".join(server.log)


def waiting(guide: Guide, server: Child) -> subprocess.Popen[str]:
    """The guide's waiting curl, once it is registered."""
    command = guide.command("curl '").replace("127.0.0.1:8000", f"127.0.0.1:{server.wait[1]}")
    before = online(server.in_).get("chat", 0)
    curl = subprocess.Popen([*shlex.split(command), "-sS", "-m", "20"], stdout=subprocess.PIPE, text=True)
    until(lambda: online(server.in_).get("chat", 0) == before + 1)
    return curl


def check_answer(guide: Guide, curl: subprocess.Popen[str]) -> None:
    body, _ = curl.communicate(timeout=20)
    cursor = re.compile(r"\d+\.\d+")
    assert cursor.sub("CURSOR", body.lstrip()) == cursor.sub("CURSOR", guide.answers[0].strip())


def test_flask(flask: tuple[Guide, Child, Path]) -> None:
    guide, server, folder = flask
    curl = waiting(guide, server)
    run(guide.command("curl -d").replace("127.0.0.1:8000", f"127.0.0.1:{server.wait[1]}"), folder)
    check_answer(guide, curl)


def test_flask_from_another_process(flask: tuple[Guide, Child, Path]) -> None:
    guide, server, folder = flask
    client = Client(server.wait, get("/rpl/?identifier=chat"))
    until(lambda: online(server.in_).get("chat") == 1)
    run(shlex.join(["python", "-c", guide.scripts[0]]), folder, {"RPLX_IN": "%s:%d" % server.in_})
    assert messages(client.read().body) == [{"text": "from a script"}]


def test_django_from_another_process(django: tuple[Guide, Child, Path]) -> None:
    guide, server, folder = django
    curl = waiting(guide, server)
    run(guide.command("python manage.py"), folder, {"RPLX_IN": "%s:%d" % server.in_})
    check_answer(guide, curl)


def test_django_publishes_in_a_view(django: tuple[Guide, Child, Path]) -> None:
    _, server, _ = django
    page = ask(server.wait, get("/"))
    token = re.search(rb'name="csrfmiddlewaretoken" value="(\w+)"', page.body)
    assert token
    client = Client(server.wait, get("/rpl/?identifier=chat"))
    until(lambda: online(server.in_).get("chat") == 1)
    body = b"text=from+a+view&csrfmiddlewaretoken=" + token[1]
    cookie = page.headers["set-cookie"].partition(";")[0]
    head = f"POST /say HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\nContent-Length: {len(body)}\r\n"
    head += "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    assert ask(server.wait, head.encode() + body).status == "204 No Content"
    assert messages(client.read().body) == [{"text": "from a view"}]


@pytest.mark.parametrize("name", ["flask", "django"])
def test_the_page_of_the_guide(name: str, request: pytest.FixtureRequest) -> None:
    _, server, _ = request.getfixturevalue(name)
    page = ask(server.wait, get("/"))
    assert page.status == "200 OK"
    (script,) = re.findall(rb'<script src="([^"]+)">', page.body)
    answer = ask(server.wait, get(script.decode()))
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert b"Dklab_Realplexor" in answer.body


@pytest.mark.skipif(
    not (CHROMIUM and PLAYWRIGHT.exists()) and not os.environ.get("CI"), reason="needs node, chromium, npm ci in js/"
)
@pytest.mark.parametrize("name", ["flask", "django"])
def test_the_page_in_a_browser(name: str, request: pytest.FixtureRequest) -> None:
    _, server, _ = request.getfixturevalue(name)
    command = ["node", str(ROOT / "tests/wsgi/page.mjs"), "http://127.0.0.1:%d/" % server.wait[1], str(CHROMIUM)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "written in the page\n", done.stderr


@pytest.mark.parametrize(
    ("name", "command", "listening"),
    [
        ("flask", "flask --app app run --port 0", r"Running on http://(127\.0\.0\.1):(\d+)"),
        ("django", "python manage.py runserver --noreload 127.0.0.1:0", r"server at http://(127\.0\.0\.1):(\d+)"),
    ],
)
def test_development_servers_refuse_polls_alone(
    name: str, command: str, listening: str, request: pytest.FixtureRequest
) -> None:
    *_, folder = request.getfixturevalue(name)
    program, *arguments = shlex.split(command)
    with Child(
        [str(BIN / program), *arguments], {"PYTHONUNBUFFERED": "1"}, wait=listening, in_=None, cwd=folder
    ) as server:
        assert ask(server.wait, get("/")).status == "200 OK"
        answer = ask(server.wait, get("/rpl/?identifier=chat"))
        assert answer.status == "503 Service Unavailable"
        assert b"use gunicorn -k gevent, gevent.pywsgi or rplx serve" in answer.body


@pytest.mark.parametrize("name", ["flask", "django"])
def test_the_examples_are_the_guides_files(name: str) -> None:
    guide = Guide.read(f"quickstart-{name}.md")
    examples = ROOT / "examples" / name
    assert {str(path.relative_to(examples)) for path in examples.rglob("*.py")} >= set(guide.files)
    for file, text in guide.files.items():
        assert (examples / file).read_text() == text


@pytest.mark.parametrize("name", ["flask", "django"])
def test_the_examples_run(name: str) -> None:
    command = Guide.read(f"quickstart-{name}.md").command("gunicorn")
    with start(command, ROOT / "examples" / name) as server:
        page = ask(server.wait, get("/"))
        assert page.status == "200 OK"
        assert b"new Dklab_Realplexor('/rpl/')" in page.body
