"""The PHP client: syntax, style, its own tests against live servers, and the example under PHP's own web server."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from rplx.client import Realplexor
from tests.clients.php_listener import PhpListener
from tests.live import LiveServer
from tests.redis_server import free_port
from tests.waiting import accepts, eventually

PHP = Path(__file__).resolve().parents[2] / "php"
FILES = sorted(PHP.rglob("*.php"))
COMMAND_TIMEOUT = 500.0
MESSAGE = {"ids": "a", "action": "message", "text": "x"}

pytestmark = pytest.mark.skipif(
    shutil.which("php") is None and "CI" not in os.environ, reason="needs php, phpunit and phpcs"
)


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=PHP,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_TIMEOUT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def address(pair: tuple[str, int]) -> str:
    return f"{pair[0]}:{pair[1]}"


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with LiveServer("--set", "presence.offline_timeout=0.3") as live:
        yield live


@pytest.fixture(scope="module")
def server_with_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    users = tmp_path_factory.mktemp("php") / "users"
    sha = base64.b64encode(hashlib.sha1(b"secret").digest()).decode()
    blowfish = bcrypt.hashpw(b"p:w", bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")
    users.write_text(f"ann:{{SHA}}{sha}\nbob:{blowfish}\n")
    with LiveServer("--set", f"users.file={users}", "--set", "users.max_failures=0") as live:
        yield live


class TlsFront:
    """Takes TLS connections on loopback and hands what they carry to `target`, as a proxy before the IN line does."""

    def __init__(self, target: tuple[str, int], folder: Path) -> None:
        self.target = target
        self.certificate = folder / "certificate.pem"
        key = folder / "key.pem"
        names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
        kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
        run("openssl", "req", "-x509", *kind, *names, "-keyout", key, "-out", self.certificate)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(self.certificate, key)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self.socket.getsockname()
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        self.loop.run_until_complete(asyncio.start_server(self._serve, sock=self.socket, ssl=self.context))
        self.loop.run_forever()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(*self.target)
        await asyncio.gather(self._copy(reader, inner_writer), self._copy(inner_reader, writer))

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()


@pytest.fixture
def tls_front(server: LiveServer, tmp_path: Path) -> Iterator[TlsFront]:
    front = TlsFront(server.in_, tmp_path)
    yield front
    front.stop()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PHP)))
def test_syntax(file: Path) -> None:
    run("php", "-d", "error_reporting=-1", "-d", "display_errors=1", "-l", file)


def test_style() -> None:
    run("phpcs", "-s")


@pytest.mark.parametrize("suite", ["unit", "stub"])
def test_client_alone(suite: str) -> None:
    assert re.search(r"^OK \(\d+ tests", run("phpunit", "--testsuite", suite), re.MULTILINE)


def test_client_live(server: LiveServer, server_with_users: LiveServer, tls_front: TlsFront) -> None:
    output = run(
        "phpunit",
        "--testsuite",
        "live",
        RPLX_WAIT=address(server.wait),
        RPLX_IN=address(server.in_),
        RPLX_USERS_WAIT=address(server_with_users.wait),
        RPLX_USERS_IN=address(server_with_users.in_),
        RPLX_TLS_IN=address(tls_front.address),
        RPLX_TLS_CA=str(tls_front.certificate),
    )
    assert re.search(r"^OK \(\d+ tests", output, re.MULTILINE), output


UNIX_SCRIPT = """
require_once 'Dklab/Realplexor.php';
$client = new Rplx\\Client($argv[1]);
$receipt = $client->send('unix-a', 'new');
$old = new Dklab_Realplexor($argv[1], 443);
$old->send('unix_b', 'old');
try {
    (new Dklab_Realplexor($argv[1] . '.none', 0))->cmdOnline();
} catch (Dklab_Realplexor_Exception $error) {
    $text = $error->getPrevious()->getMessage();
}
echo json_encode([array_keys($receipt), $client->online('none'), $old->cmdOnline('none'), $text, $error->getMessage()]);
"""


def test_the_path_of_a_socket(tmp_path: Path) -> None:
    place = f"unix:{tmp_path}/in.sock"
    with LiveServer("--wait", "127.0.0.1:0", "--in", place, addresses=False) as server:
        told = run("php", "-d", "error_reporting=-1", "-d", "display_errors=1", "-r", UNIX_SCRIPT, "--", place)
        assert poll(server, "5:unix-a") == ["new"]
        assert poll(server, "5:unix_b") == ["old"]
        example = Example(place)
        assert "Stored: 1 message(s)" in example.post(MESSAGE)[1]
        example.stop()
    missing = "Error #2: No such file or directory"
    assert json.loads(told) == [["unix-a"], [], [], f"{place}.none: {missing}", missing]


@pytest.mark.parametrize("transport", ["auto", "poll"])
def test_a_listener_loses_and_doubles_nothing_over_restarts(tmp_path: Path, transport: str) -> None:
    kept = ("--set", f"engine.url=sqlite:///{tmp_path}/history.db", "--set", "history.max_messages=1000")
    kept += ("--set", "server.drain=0.2")
    server = LiveServer(*kept)
    script = PhpListener(f"http://{address(server.wait)}/", transport)
    addresses = ("--wait", address(server.wait), "--in", address(server.in_))
    numbers = iter(range(10_000))
    sent = []
    for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        client = Realplexor(*server.in_)
        for _ in range(50):
            sent.append(next(numbers))
            client.send("news" if sent[-1] % 3 else ["news", "other"], sent[-1])
        client.close()
        server.stop(how)
        server = LiveServer(*addresses, *kept, addresses=False)
    with server:
        Realplexor(*server.in_).send("other", "end")
        script.wait_for('^"end"$')
    script.stop()
    assert [json.loads(line) for line in script.log[1:-1]] == sent


def test_a_listener_at_the_path_of_a_socket(tmp_path: Path) -> None:
    place = f"unix:{tmp_path}/wait.sock"
    with LiveServer("--wait", place, "--in", "127.0.0.1:0", addresses=False) as server:
        script = PhpListener(place)
        Realplexor(*server.in_).send("news", "end")
        script.wait_for('^"end"$')
        script.stop()


class Example:
    """`php -S` with the example; `post` sends its form and gives status and page."""

    def __init__(self, in_address: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/"
        self.process = subprocess.Popen(
            ["php", "-d", "error_reporting=-1", "-d", "display_errors=1", "-S", f"127.0.0.1:{port}", "-t", "examples"],
            cwd=PHP,
            env=os.environ | {"RPLX_IN": in_address},
            stderr=subprocess.DEVNULL,
        )
        eventually(lambda: accepts(("127.0.0.1", port)))

    def post(self, fields: dict[str, str], headers: dict[str, str] | None = None) -> tuple[int, str]:
        data = urllib.parse.urlencode(fields).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url, data, headers or {})) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(120)


@pytest.fixture
def example(server: LiveServer) -> Iterator[Example]:
    running = Example(address(server.in_))
    yield running
    running.stop()


def poll(server: LiveServer, items: str) -> list[object]:
    with urllib.request.urlopen(f"http://{address(server.wait)}/?identifier={items}", timeout=120) as answer:
        return [block["data"] for block in json.loads(answer.read())]


def test_example_shows_its_form(example: Example) -> None:
    with urllib.request.urlopen(example.url) as answer:
        page = answer.read().decode()
    assert '<input name="ids" value="Alpha, Beta">' in page
    assert "Warning" not in page


def test_example_sends_to_several_channels(example: Example, server: LiveServer) -> None:
    status, page = example.post({"ids": "Alpha1, Beta1", "action": "message", "text": "<b>Привет"})
    assert status == 200
    assert re.search(r"<li>Alpha1 at <code>[\d.]+</code></li>\s*<li>Beta1 at <code>[\d.]+</code></li>", page)
    assert poll(server, "5:Alpha1") == poll(server, "5:Beta1") == ["<b>Привет"]


def test_example_sends_a_burst(example: Example, server: LiveServer) -> None:
    assert "Stored: 25 message(s)" in example.post({"ids": "Burst", "action": "burst", "count": "25"})[1]
    assert poll(server, "5:Burst") == [f"message {number} of 25" for number in range(1, 26)]


def test_example_sends_a_nested_object(example: Example, server: LiveServer) -> None:
    example.post({"ids": "Nested", "action": "object", "object[user][name]": "Ann", "object[user][tags][]": "new"})
    assert poll(server, "5:Nested") == [{"user": {"name": "Ann", "tags": ["new"]}}]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"ids": " ,", "action": "message"}, "Name at least one channel"),
        (
            {"ids": "<i>", "action": "message"},
            "Identifier must match [A-Za-z0-9_][A-Za-z0-9_.-]*, &quot;&lt;i&gt;&quot; given",
        ),
        ({"ids": "a", "action": "burst", "count": "1001"}, "A burst has 1 to 1000 messages"),
        ({"ids": "a", "action": "other"}, "Unknown action"),
    ],
)
def test_example_says_what_is_wrong(example: Example, fields: dict[str, str], problem: str) -> None:
    status, page = example.post(fields)
    assert (status, f'<p class="problem">{problem}</p>' in page) == (400, True)


def test_example_takes_no_form_of_another_site(example: Example) -> None:
    status, page = example.post(MESSAGE, {"Origin": "https://evil.example"})
    assert (status, "This form was sent by another site" in page) == (400, True)
    assert example.post(MESSAGE, {"Origin": example.url.rstrip("/")})[0] == 200


def test_example_without_a_server() -> None:
    running = Example(f"127.0.0.1:{free_port()}")
    try:
        status, page = running.post(MESSAGE)
    finally:
        running.stop()
    assert (status, "Error #111: Connection refused" in page) == (502, True)
