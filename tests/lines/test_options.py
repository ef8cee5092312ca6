"""Options that change what goes over the wire: the marker's word, the hook, the JSON check, other origins, OUT_MAX."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lines.wire import Wire, blocks, http
from tests.live import LiveServer
from tests.waiting import eventually


def test_the_word_of_the_marker() -> None:
    with LiveServer("--set", "pages.identifier=rpl") as server:
        wire = Wire(server)
        listener = wire.on_wait(b"GET /?identifier=1:b&rpl=1:a HTTP/1.0\r\n\r\n")
        listener.until(b" \r\n")
        assert wire.ask(b"identifier=5:a\n\n1") == b""
        assert listener.waits()
        assert wire.ask(b"rpl=5:a\n\n1") == b""
        assert listener.rest() == blocks(({"a": "5"}, "1"))


class TestHook:
    """HOOK_CHECK_VISIBILITY may hide a message from a listener (part 2)."""

    @pytest.fixture
    def hooked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        (tmp_path / "operators_hook.py").write_text(
            "def visible(channel_id, listener_ids, cursor, data):\n"
            "    if data == b'\"fail\"':\n"
            "        raise ValueError('the hook is broken')\n"
            "    return not (channel_id.startswith('secret') and 'key' not in listener_ids) and cursor != '13'\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        with LiveServer("--set", "hooks.check_visibility=operators_hook:visible") as server:
            yield Wire(server)

    def test_live(self, hooked: Wire) -> None:
        without, with_ = hooked.listen("1:secret,1:b"), hooked.listen("1:secret,1:key")
        hooked.send("5:secret", "1")
        assert with_.rest() == blocks(({"secret": "5"}, "1"))
        assert without.waits()
        hooked.send("6:secret,6:b", "2")
        assert without.rest() == blocks(({"b": "6"}, "2"))

    def test_history(self, hooked: Wire) -> None:
        for cursor in ("12", "13", "14"):
            hooked.send(f"{cursor}:secret,{cursor}:b", cursor)
        assert hooked.poll("1:secret") == b""
        assert hooked.poll("1:secret,1:b") == blocks(({"b": "12"}, "12"), ({"b": "14"}, "14"))
        listener = hooked.listen("1:secret")
        assert listener.waits()
        listener.close()

    def test_a_hook_that_fails_hides_and_harms_nobody(self, hooked: Wire) -> None:
        """The message is shown to nobody, the log says so, and the server goes on."""
        listener = hooked.listen("1:a")
        hooked.send("5:a", '"fail"')
        assert listener.waits()
        hooked.send("6:a", "1")
        assert listener.rest() == blocks(({"a": "6"}, "1"))
        hooked.server.wait_for("the hook is broken")
        assert hooked.poll("1:a") == blocks(({"a": "6"}, "1"))


def test_the_json_check_can_be_turned_off() -> None:
    with LiveServer("--set", "in.check_json=false") as server:
        wire = Wire(server)
        wire.send("5:a", "alert(1)")
        assert wire.poll("1:a") == blocks(({"a": "5"}, "alert(1)"))
        assert wire.on_in(http("POST /?identifier=6:a HTTP/1.1\nHost: h", b"\xff{")).answer()[1] == b"a 6\n"


def test_no_body_is_no_message_even_without_the_check() -> None:
    """Nor is what a page's image or script asks for."""
    with LiveServer("--set", "in.check_json=false", "--set", "log.connections=true") as server:
        wire = Wire(server)
        for method in ("GET", "HEAD"):
            for length in ("", "Content-Length: 0\n"):
                answer = wire.ask(f"{method} /?identifier=5:a HTTP/1.1\nHost: h\n{length}\n".encode())
                assert b" 405 Method Not Allowed\r\n" in answer
        assert b" 405 " in wire.ask(http("GET /?identifier=5:a HTTP/1.1\nHost: h", b"{}"))
        for request in ("POST /?identifier=5:a HTTP/1.1\nHost: h\nContent-Length: 0", "POST /?identifier=5:a HTTP/1.0"):
            assert b" 400 Bad Request\r\n" in wire.ask(http(request, length=False))
        assert wire.ask(b"identifier=5:a\n\n") == b""
        assert wire.poll("1:a") == b""
        server.wait_for("DEBUG: passed empty HTTP body, ignored")


class TestAllowedOrigins:
    @pytest.fixture
    def wire(self):
        with LiveServer("--set", "wait.allowed_origins=https://site.example") as server:
            yield Wire(server)

    def head(self, wire: Wire, request: bytes) -> list[str]:
        client = wire.on_wait(request)
        lines = client.until(b"\r\n\r\n").decode().split("\r\n")
        client.close()
        return lines

    def test_a_poll(self, wire: Wire) -> None:
        lines = self.head(wire, http("GET /?identifier=a HTTP/1.0\nOrigin: https://site.example"))
        for line in (
            "Vary: Origin",
            "Access-Control-Allow-Origin: https://site.example",
            "Access-Control-Allow-Credentials: true",
            "Access-Control-Expose-Headers: X-Realplexor-Cursor, X-Realplexor-Gap, Retry-After",
        ):
            assert line in lines

    def test_a_refusal(self, wire: Wire) -> None:
        """The page may read why."""
        lines = self.head(wire, http("GET /?identifier= HTTP/1.1\nHost: h\nOrigin: https://site.example"))
        assert lines[0] == "HTTP/1.1 400 Bad Request"
        assert "Access-Control-Allow-Origin: https://site.example" in lines
        assert "Vary: Origin" in lines

    @pytest.mark.parametrize("origin", ["https://other.example", "http://site.example", "null"])
    def test_a_stranger(self, wire: Wire, origin: str) -> None:
        lines = self.head(wire, http(f"GET /?identifier=a HTTP/1.0\nOrigin: {origin}"))
        assert "Vary: Origin" in lines
        assert not any(line.startswith("Access-Control") for line in lines)

    def test_preflight(self, wire: Wire) -> None:
        request = http("OPTIONS / HTTP/1.1\nHost: h\nOrigin: https://site.example\nAccess-Control-Request-Method: POST")
        lines = self.head(wire, request)
        assert lines[0] == "HTTP/1.1 204 No Content"
        assert "Access-Control-Allow-Methods: GET, POST" in lines
        assert "Access-Control-Allow-Headers: Content-Type, Last-Event-ID" in lines

    def test_everybody(self) -> None:
        with LiveServer("--set", "wait.allowed_origins=*") as server:
            lines = self.head(Wire(server), http("GET /?identifier=a HTTP/1.0\nOrigin: https://x.example"))
            assert "Access-Control-Allow-Origin: *" in lines
            assert not any("Credentials" in line for line in lines)


def test_out_max_cuts_a_long_history() -> None:
    """The listener's next poll has the rest: nothing is lost, nothing twice."""
    with LiveServer("--set", "wait.out_max=2000") as server:
        wire = Wire(server)
        for number in range(1, 11):
            wire.send(f"{number}:a", '"' + f"{number:03}" * 200 + '"')
        seen: list[str] = []
        cursor = "0"
        for _ in range(10):
            body = wire.poll(f"{cursor}:a").decode()
            found = [line.split('"')[5] for line in body.split("\n") if "ids" in line]
            seen += found
            if not found:
                break
            cursor = found[-1]
            assert len(body) < 2000 + 800
        assert seen == [str(number) for number in range(1, 11)]


def test_position_of_a_poll_that_does_not_wait() -> None:
    """`position` in the query: an answer at once, to learn the cursor."""
    with LiveServer() as server:
        wire = Wire(server)
        head, body = wire.on_wait(http("GET /?identifier=a&position=1 HTTP/1.1\nHost: h")).answer()
        assert b"X-Realplexor-Cursor: " in head
        assert body == b" \r\n"
        listener = wire.on_wait(http("GET /?identifier=a&positions=1 HTTP/1.1\nHost: h"))
        assert listener.waits()
        listener.close()
        eventually(lambda: wire.online("a"), "a 0\n")
