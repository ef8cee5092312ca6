"""`rplx doctor`: real servers in front, each with a fault on purpose, and the doctor names it; its exit status."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rplx.cli.command import main
from rplx.cli.doctor import cut, machine, messages, outside
from rplx.cli.doctor.findings import State
from tests.lines.wire import settings
from tests.live import LiveServer
from tests.proxies.conftest import be_patient
from tests.proxies.fronts import Block, front

NOTICED = 1.5  # seconds in which a hang-up is not noticed
OPTIONS = settings("wait.allowed_origins=https://example.com")
ORIGIN = ("--origin", "https://example.com")
Capture = pytest.CaptureFixture[str]

NGINX = """
upstream rplx {{ server 127.0.0.1:8088; keepalive 4; }}
{outside}
server {{
  listen 80;
  proxy_buffering off;
  location / {{
    proxy_pass http://rplx;
    {inside}
  }}
}}
"""
COMPRESSING = "gzip on; gzip_types text/javascript; gzip_min_length 1; gzip_proxied any;"
CACHING = """
    proxy_buffering on;
    proxy_cache kept;
    proxy_ignore_headers Cache-Control Expires X-Accel-Buffering;
    proxy_cache_valid 200 1m;
"""
HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 320s
  timeout server 320s
listen rplx
  bind :80
  {inside}
  server rplx 127.0.0.1:8088
"""


KEPT = 'proxy_http_version 1.1; proxy_set_header Connection "";'


def nginx(inside: str, outside: str = "", upstream: str = KEPT) -> Block:
    """nginx with such a location; `upstream` says how it speaks to rplx."""
    return Block("nginx", NGINX.format(inside=f"{upstream} {inside}", outside=outside), tls=False)


# What is wrong, the check that says so, its state, and words of what it says.
FAULTS = {
    "buffering": (
        nginx("proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;", upstream=""),
        "buffering",
        "wrong",
        "holds answers back",
    ),
    "a new connection for each": (nginx("", upstream=""), "upstream", "note", "a new connection to rplx"),
    "cut": (
        nginx("proxy_read_timeout 2s;"),
        "cut",
        "wrong",
        r"is cut after \d+ s, before the server ends it: answered 504; rplx's own clients, .*, are cut, too",
    ),
    "cut in HAProxy": (
        Block("haproxy", HAPROXY.format(inside="option abortonclose\n  timeout server 2s"), tls=False),
        "cut",
        "wrong",
        r"after \d+ s",
    ),
    "cut behind its head": (
        nginx("proxy_read_timeout 2s;", upstream=""),
        "cut",
        "wrong",
        r"is cut after \d+ s, before the server ends it: the connection ended in the middle",
    ),
    "gzip": (nginx(COMPRESSING), "compression", "wrong", r"compressed on the way \(gzip\)"),
    "a lost header": (
        nginx("proxy_hide_header X-Realplexor-Cursor; proxy_hide_header Cache-Control;"),
        "headers",
        "wrong",
        "Cache-Control: no-store; X-Realplexor-Cursor",
    ),
    "a header twice": (
        nginx('add_header Access-Control-Allow-Origin "*";'),
        "CORS",
        "wrong",
        "stands there 2 times",
    ),
    "a lost header of CORS": (
        nginx("proxy_hide_header Access-Control-Allow-Origin;"),
        "CORS",
        "wrong",
        "no Access-Control-Allow-Origin",
    ),
    "no preflights": (nginx("if ($request_method = OPTIONS) { return 405; }"), "CORS", "wrong", "preflight"),
    "a cache": (
        nginx(CACHING, "proxy_cache_path {folder} keys_zone=kept:1m;"),
        "cache",
        "wrong",
        "the same answer twice",
    ),
    "no POST": (nginx("limit_except GET OPTIONS { deny all; }"), "POST", "wrong", "do not pass: 403"),
    "short lines": (
        nginx('if ($request_uri ~ "^.{1000}") { return 414; }'),
        "long requests",
        "wrong",
        "1700 characters does not pass",
    ),
    "connections that end": (nginx("keepalive_timeout 0;"), "keep-alive", "note", "ends with each answer"),
    "hang-ups ignored": (nginx("proxy_ignore_client_abort on;"), "hang-up", "wrong", "still online 1.5 s later"),
    "hang-ups unseen": (Block("haproxy", HAPROXY.format(inside=""), tls=False), "hang-up", "wrong", "still online"),
    "hang-ups not told": (
        Block("caddy", ":80 {\n reverse_proxy 127.0.0.1:8088 {\n  flush_interval -1\n }\n}\n", tls=False),
        "hang-up",
        "wrong",
        "still online",
    ),
}


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)


# What else goes wrong with a fault: nginx lets go of no request whose answer it would cache.
FOLLOWING = {"a cache": {"hang-up"}}


def doctor(capsys: Capture, *arguments: str) -> tuple[int, dict[str, Any]]:
    status = main(["doctor", *arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


def in_of(server: LiveServer) -> tuple[str, str]:
    return ("--in", "%s:%d" % server.in_)


def of(shown: dict[str, Any], check: str) -> list[dict[str, Any]]:
    return [finding for finding in shown["findings"] if finding["check"] == check]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(
    fault: str, server: LiveServer, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    block, check, state, words = FAULTS[fault]
    if "hang-up" in {check} | FOLLOWING.get(fault, set()):
        monkeypatch.setattr(messages, "NOTICED", NOTICED)
    block = block._replace(text=block.text.replace("{folder}", str(tmp_path / "cache")))
    with front(block, tmp_path, server.wait) as running:
        patience = "30" if check == "cut" else "0.1"
        status, shown = doctor(capsys, running.url, *in_of(server), *ORIGIN, "--patience", patience)
    found = [finding for finding in of(shown, check) if finding["state"] == state]
    assert found, shown
    assert re.search(words, found[0]["text"]), found
    assert status == (1 if state == "wrong" else 0)
    other = {each["check"] for each in shown["findings"] if each["state"] == "wrong"} - {check}
    assert other == FOLLOWING.get(fault, set())
    assert check in ("POST", "long requests") or found[0]["cures"]
    if block.kind != "haproxy":
        assert [name.lower() for name in shown["programs"]] == [block.kind]


class TestWithoutFront:
    def test_all_is_well(self, server: LiveServer, capsys: Capture) -> None:
        url = "%s:%d" % server.wait
        assert main(["doctor", url, *in_of(server), *ORIGIN, "--patience", "0.1"]) == 0
        shown = capsys.readouterr().out
        assert shown.startswith(f"http://{url}/\n")
        assert shown.endswith("\nNothing is wrong.\n")
        assert re.search(r"^well     message: comes at once: \d+ ms after it was sent$", shown, re.MULTILINE)
        assert re.search(r"^untested IN from outside: 127\.0\.0\.1 is this machine itself", shown, re.MULTILINE)

    def test_what_cannot_be_tested_is_said(self, server: LiveServer, capsys: Capture, monkeypatch: Any) -> None:
        """127.0.0.1:10010 is tried on the server's machine; whoever answers there is not this server."""
        monkeypatch.setattr(messages, "REGISTERED", 0.3)
        status, shown = doctor(capsys, "http://%s:%d/" % server.wait, "--patience", "0.1")
        assert status == 0
        assert [each["state"] for each in of(shown, "IN") + of(shown, "CORS")] == ["untested", "untested"]
        assert [each["state"] for each in of(shown, "message") + of(shown, "hang-up")] == ["untested", "untested"]

    def test_the_in_line_of_another_server(self, server: LiveServer, capsys: Capture, monkeypatch: Any) -> None:
        monkeypatch.setattr(messages, "REGISTERED", 0.3)
        with LiveServer() as other:
            status, shown = doctor(capsys, "%s:%d" % server.wait, *in_of(other), "--patience", "0.1")
        assert status == 1
        assert of(shown, "IN")[0]["text"].startswith("does not count a poll made through the URL")

    def test_nobody_at_in(self, server: LiveServer, capsys: Capture) -> None:
        status, shown = doctor(capsys, "%s:%d" % server.wait, "--in", "127.0.0.1:1", "--patience", "0.1")
        assert status == 1
        assert "Connection refused" in of(shown, "IN")[0]["text"]

    def test_with_a_login(self, tmp_path: Path, capsys: Capture) -> None:
        (tmp_path / "users").write_text("bob:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")  # "secret"
        with LiveServer(*settings(f"users.file={tmp_path}/users")) as guarded:
            url = "%s:%d" % guarded.wait
            status, shown = doctor(capsys, url, *in_of(guarded), "--login", "bob:secret", "--patience", "0.1")
            assert (status, of(shown, "message")[0]["state"], of(shown, "hang-up")[0]["state"]) == (0, "well", "well")
            status, shown = doctor(capsys, url, *in_of(guarded), "--patience", "0.1")
        assert status == 1
        assert "access denied for guest user" in of(shown, "IN")[0]["text"]

    def test_the_server_ends_its_poll(self, capsys: Capture) -> None:
        with LiveServer(*settings("wait.timeout=1")) as server:
            status, shown = doctor(capsys, "%s:%d" % server.wait, *in_of(server), "--patience", "30")
        assert status == 0
        assert of(shown, "cut")[0]["text"].startswith("a poll waits until the server itself ends it, after ")
        assert of(shown, "timeout")[0]["state"] == "well"

    def test_a_query_that_is_changed_on_the_way(
        self, server: LiveServer, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cut, "ENDED", 4.0)
        block = nginx("if ($args ~ ^(.*)&timeout=1$) { set $args $1; }")
        with front(block, tmp_path, server.wait) as running:
            status, shown = doctor(capsys, running.url, *in_of(server), "--patience", "0.1")
        (found,) = of(shown, "timeout")
        assert (status, found["state"]) == (0, "note")
        assert "a poll that asked to be ended after 1 s waits on" in found["text"]


NAMING = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
TRUSTING = settings("wait.trusted_proxies=127.0.0.1")
# How the server is started, what nginx does, and what is said of it.
CLIENTS = {
    "nobody is named": ((), "", "client", "note", "no header names clients"),
    "nobody is trusted": ((), NAMING, "trusted proxies", "note", "rplx does not trust who writes it"),
    "all is well": (TRUSTING, f'{NAMING} proxy_set_header Forwarded "";', "client", "well", "trusted, and names each"),
    "a header is handed on": (TRUSTING, "", "client", "wrong", "can pass for any address"),
    "another header is handed on": (TRUSTING, NAMING, "client", "wrong", "sends Forwarded undoes how it is named"),
    "nobody is meant": (TRUSTING, "proxy_set_header X-Forwarded-For unknown;", "client", "wrong", "but names nobody"),
}


@pytest.mark.parametrize("case", CLIENTS)
def test_who_clients_are_taken_for(case: str, tmp_path: Path, capsys: Capture) -> None:
    """Part 9.6."""
    options, inside, check, state, words = CLIENTS[case]
    with LiveServer(*options) as server, front(nginx(inside), tmp_path, server.wait) as running:
        status, shown = doctor(capsys, running.url, *in_of(server), "--patience", "0.1")
    found = [(each["state"], bool(each["cures"])) for each in of(shown, check) if words in each["text"]]
    assert found == [(state, state != "well")], shown
    assert status == (1 if state == "wrong" else 0)
    assert of(shown, "health")[0]["state"] == "well"


TCP = "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
TCP += "listen rplx\n  bind :80\n  server rplx 127.0.0.1:8088 {how}\n"


class TestProxyHeader:
    """HAProxy that hands on bytes, and names clients by the PROXY protocol (part 9.6)."""

    @pytest.mark.parametrize("how", ["send-proxy", "send-proxy-v2"])
    @pytest.mark.parametrize("expected", [True, False])
    def test_sent(self, how: str, expected: bool, tmp_path: Path, capsys: Capture) -> None:
        options = settings("wait.proxy_protocol=true") if expected else ()
        block = Block("haproxy", TCP.format(how=how), tls=False)
        with LiveServer(*options) as server, front(block, tmp_path, server.wait) as running:
            status, shown = doctor(capsys, running.url, *in_of(server), "--patience", "0.1")
        if expected:
            assert (status, of(shown, "client")[0]["text"][:28]) == (0, "a PROXY header names each cl")
        else:
            (found,) = shown["findings"]
            assert (status, found["check"], found["state"]) == (1, "PROXY header", "wrong")
            assert found["cures"] == {"rplx": ["proxy_protocol = true"]}

    def test_not_sent(self, tmp_path: Path, capsys: Capture) -> None:
        with LiveServer(*settings("wait.proxy_protocol=true")) as server:
            with front(Block("haproxy", TCP.format(how=""), tls=False), tmp_path, server.wait) as running:
                status, shown = doctor(capsys, running.url, *in_of(server))
            (found,) = shown["findings"]
            assert (status, found["check"], found["state"]) == (1, "no PROXY header", "wrong")
            assert found["cures"] == {"HAProxy": ["send-proxy-v2"]}
            with front(nginx(""), tmp_path / "nginx", server.wait) as running:
                assert main(["doctor", running.url]) == 2
        assert "a PROXY header (HAProxy: send-proxy-v2) that is not sent?" in capsys.readouterr().err


def test_the_path_of_a_socket(tmp_path: Path, capsys: Capture) -> None:
    places = [f"unix:{tmp_path}/{name}" for name in ("wait", "in")]
    with LiveServer("--wait", places[0], "--in", places[1], addresses=False):
        status, shown = doctor(capsys, places[0], "--in", places[1], "--patience", "0.1")
    assert (status, shown["url"]) == (0, places[0])
    assert {of(shown, check)[0]["state"] for check in ("message", "hang-up", "keep-alive", "client")} == {"well"}
    assert of(shown, "descriptors")[0]["text"].startswith("the server's process may have ")
    assert "is of this machine alone" in of(shown, "IN from outside")[0]["text"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["unix:/none"], "unix:/none: No such file or directory"),
        (["unix:/" + "x" * 107], "the path of a socket has 107 bytes at most"),
        (["ftp://h/"], '"ftp://h/" is not the URL of a WAIT line'),
        (["http://h/?identifier=a"], "is not the URL of a WAIT line"),
        (["http://user:secret@h/"], "the URL must have no USER:PASSWORD@"),
        (["http://h:x/"], '"http://h:x/" is not a URL'),
        (["127.0.0.1:1"], "http://127.0.0.1:1/: Connection refused"),
        (["127.0.0.1:1", "--origin", "https://example.com/"], "--origin: "),
        (["127.0.0.1:1", "--patience", "x"], '"x" is not a number of seconds'),
        (["http://no..name/"], "http://no..name:80/: "),
        (["{in_}"], "answers 405: "),
        (["{wait}", "--in", "nowhere"], '--in or RPLX_IN: "nowhere" is not HOST:PORT'),
    ],
)
def test_nobody_can_be_asked(arguments: list[str], text: str, server: LiveServer, capsys: Capture) -> None:
    lines = {"wait": "%s:%d" % server.wait, "in_": "%s:%d" % server.in_}
    assert main(["doctor", *(argument.format(**lines) for argument in arguments)]) == 2
    shown = capsys.readouterr()
    assert text in shown.err
    assert "secret" not in shown.err
    assert shown.out == ""


class Other(BaseHTTPRequestHandler):
    """Something between, of HTTP/1.0, whose clock is an hour ahead; at /old and /page it is something else."""

    def do_GET(self) -> None:
        if self.path.startswith("/old"):
            self._answer(301, b"", Location="https://example.com/rpl/")
        elif self.path.startswith("/page"):
            self._answer(200, b"<html>")
        else:
            cursor = {"X-Realplexor-Cursor": f"{time.time() + 3600:.6f}", "X-Content-Type-Options": "nosniff"}
            old = {"Cache-Control": "no-store", "Expires": "0", "Content-Type": "text/javascript"}
            self._answer(200, b" \r\n", **cursor, **old)

    do_POST = do_GET

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def other() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as stub:
        threading.Thread(target=stub.serve_forever, daemon=True).start()
        yield "http://127.0.0.1:%d" % stub.server_address[1]
        stub.shutdown()


def test_an_old_version_and_a_clock(other: str, capsys: Capture) -> None:
    status, shown = doctor(capsys, f"{other}/", "--in", "127.0.0.1:1", "--patience", "0.1")
    assert status == 1
    assert of(shown, "HTTP")[0]["state"] == "wrong"
    ahead = re.match(r"the server's is (\d+)\.\d s ahead of this machine's", of(shown, "clock")[0]["text"])
    assert ahead
    assert 3540 < int(ahead[1]) <= 3600


@pytest.mark.parametrize(("path", "text"), [("/old", "redirects to https://example.com/rpl/"), ("/page", "is no WAIT")])
def test_what_is_no_rplx(path: str, text: str, other: str, capsys: Capture) -> None:
    assert main(["doctor", other + path]) == 2
    assert text in capsys.readouterr().err


class Holding(threading.Thread):
    """Hands on bytes both ways, but keeps those of an answer with a message for a while."""

    def __init__(self, server: tuple[str, int], seconds: float) -> None:
        super().__init__(daemon=True)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self._server, self._seconds = server, seconds
        self.start()

    def run(self) -> None:
        while True:
            client, _ = self.listening.accept()
            upstream = socket.create_connection(self._server)
            for one, other in ((client, upstream), (upstream, client)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while part := one.recv(65536):
                if b'"data"' in part:
                    time.sleep(self._seconds)
                other.sendall(part)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            other.close()


def test_a_message_that_comes_late(server: LiveServer, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "AT_ONCE", 1.0)
    address = Holding(server.wait, 1.2).listening.getsockname()
    status, shown = doctor(capsys, "%s:%d" % address, *in_of(server), "--patience", "0.1")
    assert status == 1
    assert re.fullmatch(r"came \d+\.\d s after it was sent", of(shown, "message")[0]["text"])
    monkeypatch.setattr(messages, "PATIENCE", 0.2)
    status, shown = doctor(capsys, "%s:%d" % address, *in_of(server), "--patience", "0.1")
    assert "but it does not, in 0.2 s" in of(shown, "message")[0]["text"]


class TestMachine:
    def test_few_descriptors(self, capsys: Capture) -> None:
        with LiveServer(shell="ulimit -n 1000") as server:
            status, shown = doctor(capsys, "%s:%d" % server.wait, *in_of(server), "--patience", "0.1")
        assert status == 1
        (found,) = of(shown, "descriptors")
        assert found["text"] == "the server's process may have 1,000 open, that is some 500 browsers"
        assert found["cures"]["systemd"] == ["LimitNOFILE=100000"]

    def test_short_queues(self, tmp_path: Path) -> None:
        values = {
            "net/core/somaxconn": "128",
            "net/ipv4/tcp_max_syn_backlog": "512",
            "fs/file-max": "3000000",
            "net/ipv4/ip_local_port_range": "1024\t65535",
        }
        for name, value in values.items():
            (tmp_path / "sys" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "sys" / name).write_text(value + "\n")
        states = {finding.check: finding.state for finding in machine.check([1], tmp_path)}
        assert states == {
            "descriptors": State.UNTESTED,
            "net.core.somaxconn": State.WRONG,
            "net.ipv4.tcp_max_syn_backlog": State.NOTE,
            "fs.file-max": State.WELL,
            "net.ipv4.ip_local_port_range": State.WELL,
        }

    def test_which_addresses_are_here(self) -> None:
        assert machine.is_here("127.0.0.1")
        assert machine.is_here("localhost")
        assert not machine.is_here("192.0.2.1")
        assert not machine.is_here("no-such-host.invalid")


class TestOutside:
    def test_which_is_an_in_line(self, server: LiveServer, tmp_path: Path) -> None:
        assert outside.is_in_line(*server.in_)
        assert not outside.is_in_line(*server.wait)
        assert not outside.is_in_line("127.0.0.1", 1)
        (tmp_path / "users").write_text("bob:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")
        with LiveServer(*settings(f"users.file={tmp_path}/users")) as guarded:
            assert outside.is_in_line(*guarded.in_)

    def test_what_it_means(self) -> None:
        assert outside.judged("h", [], public=True).state is State.WELL
        assert outside.judged("h", [10010], public=False).state is State.NOTE
        found = outside.judged("h", [10010], public=True)
        assert (found.state, found.cures["rplx"]) == (State.WRONG, ('listen = ["127.0.0.1:10010"]',))
