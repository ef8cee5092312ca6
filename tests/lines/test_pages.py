"""The IFRAME and SCRIPT pages (protocol page, part 2, "Special first ids")."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.lines.wire import Wire, http
from tests.live import LiveServer
from tests.waiting import eventually

MODIFIED = 1_700_000_000
MODIFIED_TEXT = b"Tue, 14 Nov 2023 22:13:20 GMT"


def pages(folder: Path) -> tuple[str, ...]:
    """Options for a server with small pages of its own."""
    options = []
    for name, text in (
        ("iframe", "<p>$JS_WAIT_URI $IDENTIFIER $NO_SUCH $CHARSET $x $ $$ é</p>"),
        ("script", "var u = '$JS_WAIT_URI', n = $JS_MAX_BOUNCES, d = $JS_WAIT_RECONNECT_DELAY, i = '$SCRIPT_ID';"),
    ):
        file = folder / name
        file.write_text(text)
        os.utime(file, (MODIFIED, MODIFIED))
        options += ["--set", f"pages.{name}_file={file}"]
    return tuple(options)


IFRAME = "<p>/ identifier undefined-NO_SUCH utf-8 $x $ $$ é</p>".encode()
SCRIPT = b"var u = '/', n = 10, d = 0.01, i = 'SCRIPT';"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory):
    with LiveServer(*pages(tmp_path_factory.mktemp("pages"))) as server:
        yield Wire(server)


@pytest.mark.parametrize(
    "request_",
    [
        b"identifier={}\n",
        http("GET /?identifier={} HTTP/1.0"),
        http("GET /?identifier={},other HTTP/1.1\nHost: h\nConnection: close"),
        http("GET /?identifier=5:{} HTTP/1.1\nHost: h\nConnection: close"),
        http("GET /rpl/?0?identifier={}&HOST=h&version=1.32 HTTP/1.1\nHost: h\nConnection: close"),
        http("GET /?identifier={}&1234 HTTP/1.1\nHost: h\nConnection: close"),
    ],
)
@pytest.mark.parametrize(
    ("name", "kind", "content"), [(b"IFRAME", b"text/html", IFRAME), (b"SCRIPT", b"text/javascript", SCRIPT)]
)
def test_page(small: Wire, request_: bytes, name: bytes, kind: bytes, content: bytes) -> None:
    head, _, body = small.on_wait(request_.replace(b"{}", name)).rest().partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    is_checked = name == b"SCRIPT" and b" HTTP/1.1\r\n" in request_  # part 9.3
    assert lines[:4] == [
        b"HTTP/1.1 200 OK",
        b"Connection: close",
        b"Content-Type: " + kind + b"; charset=utf-8",
        b"Last-Modified: " + MODIFIED_TEXT,
    ]
    if is_checked:
        assert re.fullmatch(rb'ETag: "[0-9a-f]{32}"', lines[4])
        assert lines[5] == b"Cache-Control: public, max-age=3600"
        assert not re.search(rb"(?i)\r\nexpires:", head)
    else:
        assert lines[4:6] == [b"Expires: Wed, 08 Jul 2037 22:53:52 GMT", b"Cache-Control: public"]
    assert body == content
    if request_.startswith(b"identifier"):
        assert len(lines) == 6


def test_kept_connection_and_head_and_304(small: Wire) -> None:
    client = small.on_wait(http("GET /?identifier=SCRIPT HTTP/1.1\nHost: h"))
    assert client.answer()[1] == SCRIPT
    client.send(http("HEAD /?identifier=SCRIPT HTTP/1.1\nHost: h"))
    head = client.until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: %d\r\n" % len(SCRIPT) in head
    assert client.waits(0.05)
    client.send(http(f"GET /?identifier=IFRAME HTTP/1.1\nHost: h\nIf-Modified-Since: {MODIFIED_TEXT.decode()}"))
    assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 304 Not Modified\r\n")
    assert client.waits(0.05)
    old = small.on_wait(http(f"GET /?identifier=SCRIPT HTTP/1.0\nIf-Modified-Since: {MODIFIED_TEXT.decode()}"))
    assert old.rest().startswith(b"HTTP/1.1 304 Not Modified\r\n")


def script(wire: Wire, *headers: str) -> tuple[bytes, bytes]:
    """Status line and tag of the script."""
    request = "\n".join(["GET /?identifier=SCRIPT HTTP/1.1", "Host: h", "Connection: close", *headers])
    head = wire.on_wait(http(request)).rest().partition(b"\r\n\r\n")[0]
    match = re.search(rb"\r\nETag: (.*)\r\n", head)
    assert match, head
    return head.partition(b"\r\n")[0], match[1]


def test_the_script_is_asked_for_by_its_tag(small: Wire) -> None:
    status, tag = script(small)
    assert status == b"HTTP/1.1 200 OK"
    for known in (tag.decode(), f'"x", W/{tag.decode()}', "*"):
        assert script(small, f"If-None-Match: {known}") == (b"HTTP/1.1 304 Not Modified", tag)
    for other in ('"x"', tag.decode().strip('"'), ""):
        assert script(small, f"If-None-Match: {other}") == (b"HTTP/1.1 200 OK", tag)
    unchanged = f"If-Modified-Since: {MODIFIED_TEXT.decode()}"
    assert script(small, unchanged) == (b"HTTP/1.1 200 OK", tag), "the file is the same, the options may not be"
    assert script(small, unchanged, 'If-None-Match: "x"') == (b"HTTP/1.1 200 OK", tag)


def test_a_script_with_other_options_is_another_one(tmp_path: Path) -> None:
    file = tmp_path / "rplx.toml"
    given = pages(tmp_path)
    file.write_text("")
    with LiveServer("--config", str(file), *given) as server:
        wire = Wire(server)
        tag = script(wire)[1]
        file.write_text("js.max_bounces = 5\n")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for(r"Option js\.max_bounces is changed: 10 -> 5")
        eventually(lambda: script(wire, f"If-None-Match: {tag.decode()}")[0], b"HTTP/1.1 200 OK")
        assert script(wire)[1] != tag


def test_only_as_the_first_id(small: Wire) -> None:
    listener = small.on_wait(b"identifier=a,IFRAME\n")
    assert b"text/javascript" in listener.until(b" \r\n")
    assert listener.waits()
    small.send("IFRAME", "1")
    assert b'"IFRAME"' in listener.rest()


def test_the_pages_that_come_with_it() -> None:
    with LiveServer() as server:
        wire = Wire(server)
        for name, word in (("IFRAME", b"Dklab_Realplexor_Loader"), ("SCRIPT", b"Dklab_Realplexor")):
            body = wire.on_wait(f"identifier={name}\n".encode()).rest().partition(b"\r\n\r\n")[2]
            assert word in body
            assert not re.search(rb"undefined-[A-Z]|\$[A-Z_]{3,}", body)


def test_ids_and_charset_are_options(tmp_path: Path) -> None:
    options = ("--set", "pages.iframe_id=PAGE", "--set", "pages.script_id=JS", "--set", "wait.charset=windows-1251")
    with LiveServer(*pages(tmp_path), *options) as server:
        wire = Wire(server)
        assert b"text/html; charset=windows-1251\r\n" in wire.on_wait(b"identifier=PAGE\n").rest()
        assert wire.on_wait(b"identifier=JS\n").rest().endswith(b"i = 'JS';")
        listener = wire.on_wait(b"identifier=IFRAME\n")
        assert b"Content-Type: text/javascript; charset=windows-1251\r\n" in listener.until(b" \r\n")
        listener.close()


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    with LiveServer(*pages(tmp_path)) as server:
        wire = Wire(server)
        assert wire.on_wait(b"identifier=SCRIPT\n").rest().endswith(SCRIPT)
        (tmp_path / "script").write_text("changed")
        assert wire.on_wait(b"identifier=SCRIPT\n").rest().endswith(b"\r\n\r\nchanged")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A clear 404 and a line in the log; the server goes on, and serves the file once it is there."""
    file = tmp_path / "page.html"
    with LiveServer("--set", f"pages.iframe_file={file}") as server:
        wire = Wire(server)
        request = http("GET /?identifier=IFRAME HTTP/1.1\nHost: h")
        head, text = wire.on_wait(request).answer()
        assert head.startswith(b"HTTP/1.1 404 Not Found\r\n")
        assert text == b"the IFRAME page cannot be read\n"
        assert wire.on_wait(b"identifier=IFRAME\n").rest() == b""
        server.wait_for(r"cannot read the IFRAME page: .*No such file.*page\.html")
        file.mkdir()
        assert wire.on_wait(request).answer()[0].startswith(b"HTTP/1.1 404 ")
        file.rmdir()
        file.write_text("now")
        assert wire.on_wait(request).answer()[1] == b"now"
        wire.listen("a").close()


@pytest.mark.parametrize(
    ("target", "defined"),
    [
        ("?identifier=SCRIPT&shared", b"shared"),
        ("?1234&shared=1&identifier=SCRIPT", b"shared"),
        ("?identifier=SCRIPT&websocket", b"websocket"),
    ],
)
def test_what_not_every_page_needs_is_a_script_of_its_own(small: Wire, target: str, defined: bytes) -> None:
    client = small.on_wait(http(f"GET /{target} HTTP/1.1\nHost: h"))
    head, body = client.answer()
    assert b"Content-Type: text/javascript; charset=utf-8\r\n" in head
    assert b"max-age=3600" in head
    assert b"Realplexor.%s=" % defined in body


@pytest.mark.parametrize(
    "target",
    [
        "?identifier=SCRIPT&shareds",
        "?identifier=SCRIPT&websockets",
        "?identifier=SCRIPT,shared",
        "?unshared&identifier=SCRIPT",
    ],
)
def test_the_script_comes_by_any_other_target(small: Wire, target: str) -> None:
    assert small.on_wait(http(f"GET /{target} HTTP/1.1\nHost: h")).answer()[1] == SCRIPT
