"""Typing the pages on rplx inside other servers and applications."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.hosts.http import Client, ask, get, messages, online
from tests.pages.blocks import ROOT, Page
from tests.pages.newcomer import Newcomer, until
from tests.pages.surroundings import CHROMIUM, HAS_BROWSER, NGINX, nginx
from tests.redis_server import AVAILABLE, RedisServer, free_port

CURSOR = re.compile(r"\d+\.\d+")
HEARD = "&position=1"


def polls(newcomer: Newcomer, port: int, path: str = "/") -> None:
    """A poll at this port of the page is answered."""
    answer = ask(newcomer.address(port), get(f"{path}?identifier=1:nobody{HEARD}"))
    assert (answer.status, answer.body) == ("200 OK", b" \r\n"), answer


def waits(newcomer: Newcomer, command: str) -> subprocess.Popen[str]:
    """A page's curl that waits for a message in `chat`, once it does."""
    in_ = newcomer.address(10010)
    before = online(in_).get("chat", 0)
    curl = subprocess.Popen(
        ["bash", "-ec", f"exec {newcomer.here(command)}"],
        env={**newcomer.environ, "http_proxy": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    until(lambda: online(in_).get("chat", 0) > before)
    return curl


def heard(curl: subprocess.Popen[str], shown: str) -> None:
    """The waiting curl ends with what the page shows, but for the cursor."""
    body, _ = curl.communicate(timeout=120)
    assert CURSOR.sub("CURSOR", body.lstrip()) == CURSOR.sub("CURSOR", shown.strip())


def chat_in_a_browser(newcomer: Newcomer) -> None:
    if not HAS_BROWSER:
        return
    command = ["node", str(ROOT / "tests/pages/chat.mjs"), "http://127.0.0.1:%d/" % newcomer.port(8000), str(CHROMIUM)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "written in the page\n", done.stderr


def no_errors(log: Path) -> None:
    text = log.read_text()
    assert "Traceback" not in text, text
    assert "Error" not in text, text


def flask(page: Page, newcomer: Newcomer) -> None:
    newcomer.install(page.next("sh", "python3 -m venv"))
    page.files(newcomer.folder, newcomer.here)
    assert (newcomer.folder / "app.py").read_text() == (ROOT / "examples/flask/app.py").read_text()
    log = newcomer.start(page.next("sh", "gunicorn"), 8000)
    curl = waits(newcomer, page.next("sh", "curl"))
    newcomer.run(page.next("sh", "curl -d"))
    heard(curl, page.next(""))
    chat_in_a_browser(newcomer)
    newcomer.python(page.next("python", "import rplx"))
    told = ask(newcomer.address(8000), get("/rpl/?identifier=1:chat"))
    assert messages(told.body)[-1] == {"text": "from a script"}
    no_errors(log)


def django(page: Page, newcomer: Newcomer) -> None:
    newcomer.install(page.next("sh", "python3 -m venv"))
    newcomer.run(page.next("sh", "django-admin"))
    newcomer.folder /= "mysite"
    page.files(newcomer.folder, newcomer.here)
    examples = ROOT / "examples/django/mysite"
    for name in ("wsgi.py", "views.py", "urls.py"):
        assert (newcomer.folder / "mysite" / name).read_text() == (examples / name).read_text()
    log = newcomer.start(page.next("sh", "gunicorn"), 8000)
    curl = waits(newcomer, page.next("sh", "curl"))
    newcomer.run(page.next("sh", "python manage.py"))
    heard(curl, page.next(""))
    chat_in_a_browser(newcomer)
    no_errors(log)


def gunicorn(page: Page, newcomer: Newcomer) -> None:
    newcomer.install(page.next("sh", "python3 -m venv"))
    log = newcomer.start(page.next("sh", "gunicorn -c python:rplx.gunicorn"), 8088)
    polls(newcomer, 8088)
    assert "nobody" in online(newcomer.address(10010))
    no_errors(log)
    newcomer.stop()
    page.files(newcomer.folder, newcomer.here)
    log = newcomer.start(page.next("sh", "gunicorn -c own.py").replace("gunicorn", "gunicorn --log-level debug"), 8088)
    polls(newcomer, 8088)
    for setting in ("worker_connections: 50000", "keepalive: 10"):
        assert setting in log.read_text()
    newcomer.stop()
    several_workers(page.next("sh", "pip install"), newcomer)


def several_workers(commands: str, newcomer: Newcomer) -> None:
    install, _, command = commands.partition("\n")
    newcomer.install_more(install)
    if not AVAILABLE and not os.environ.get("CI"):
        return
    with RedisServer() as redis:
        newcomer.place(6379, redis.port)
        log = newcomer.start(command, 8088)
        until(lambda: log.read_text().count("Booting worker") == 4, log)
        polls(newcomer, 8088)
        newcomer.stop()


MIDDLEWARE = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"the application's own"]
"""


def wsgi(page: Page, newcomer: Newcomer) -> None:
    newcomer.install(page.next("sh", "python3 -m venv"))
    here = f"--no-control-socket --bind 127.0.0.1:{newcomer.port(8000)}"  # where gunicorn listens of itself
    newcomer.start(page.next("sh", "gunicorn -k gevent"), 8000, GUNICORN_CMD_ARGS=here)
    polls(newcomer, 8000)
    newcomer.stop()
    serving = page.next("python", "from gevent import monkey")
    (newcomer.folder / "serving.py").write_text(newcomer.here(serving))
    newcomer.start("python serving.py", 8088)
    polls(newcomer, 8088)
    newcomer.stop()
    head, _, line = serving.rstrip().removesuffix(".serve_forever()").rpartition("\n")
    ends = f"{head}\nserver = {line}\n{page.next('python', 'import signal')}\nserver.serve_forever()\n"
    (newcomer.folder / "ends.py").write_text(newcomer.here(ends))
    newcomer.start("python ends.py", 8088)
    middleware = page.next("python", "from rplx.wsgi import RealplexorMiddleware")
    (newcomer.folder / "site_with_it.py").write_text(MIDDLEWARE + middleware)
    location = page.next("nginx", "location")
    published(page.next("python", "import rplx"), newcomer)
    waiting = Client(newcomer.address(8088), get("/?identifier=waits"))
    until(lambda: online(newcomer.address(10010)).get("waits") == 1)
    newcomer.stop()
    assert waiting.read().body == b" \r\n"
    newcomer.start("gunicorn -c python:rplx.gunicorn -b 127.0.0.1:8000 site_with_it:app", 8000)
    polls(newcomer, 8000, "/rpl/")
    assert ask(newcomer.address(8000), get("/else")).body == b"the application's own"
    if NGINX or os.environ.get("CI"):
        port = free_port()
        nginx(newcomer, port, location)
        polls(newcomer, port, "/rpl/")
        assert ask(("127.0.0.1", port), get("/else")).status.startswith("404")  # the block is for polls alone


def published(program: str, newcomer: Newcomer) -> None:
    newcomer.python(program)
    address = newcomer.address(8088)
    assert messages(ask(address, get("/?identifier=1:news")).body) == [{"title": "Hello"}, [1, 2, 3]]
    assert messages(ask(address, get("/?identifier=1:news,user_7")).body)[-1] == "for some"
