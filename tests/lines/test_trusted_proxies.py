"""wait.trusted_proxies: their X-Forwarded-For and Forwarded name the client, and nobody else's do (part 9.6)."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.lines.proxies import BOTH, Front, in_front
from tests.lines.wire import Conversation, Wire, http, settings
from tests.live import LiveServer
from tests.waiting import eventually

OTHER = "127.0.0.2"  # the machine has the whole of 127.0.0.0/8; this one is not trusted
LIMIT, SHARE = 2, 10
OPTIONS = settings(
    "wait.trusted_proxies=127.0.0.1,10.0.0.0/8",
    "log.connections=true",
    f"wait.max_connections_per_address={LIMIT}",
    f"presence.max_in_grace_per_address={SHARE}",
    "presence.offline_timeout=300",
)
NAMED = [
    ("X-Forwarded-For: 203.0.113.7", "203.0.113.7"),
    ("X-Forwarded-For: 198.51.100.1, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
    ("X-Forwarded-For: 198.51.100.1\nX-Forwarded-For: 203.0.113.7", "203.0.113.7"),
    ('Forwarded: for="[2001:db8::1]:4711";proto=https', "2001:db8::1"),
    ("Forwarded: for=198.51.100.1\nForwarded: for=203.0.113.7", "203.0.113.7"),
    ("X-Forwarded-For: 203.0.113.7\nForwarded: for=203.0.113.7", "203.0.113.7"),
]
UNNAMED = [
    "X-Forwarded-For: unknown",
    'Forwarded: for="_hidden',
    "X-Forwarded-For:",
    "X_Forwarded_For: 203.0.113.7",
    "X-Forwarded-For: 203.0.113.7\nForwarded: for=198.51.100.1",
    "X-Forwarded-For: " + ",".join(["x"] * 1000),
    "X-Real-IP: 203.0.113.7",
]


def poll(ids: str, *lines: str) -> bytes:
    return http("\n".join([f"GET /?identifier={ids} HTTP/1.1\nHost: h", *lines]))


def registered(wire: Wire, channel: str) -> str:
    """The address that the log says a listener of this channel has."""
    return wire.server.wait_for(rf"WAIT: (\S+):\d+: DEBUG: \[[^]]*:{channel}\] registered")[1]


def status(conversation: Conversation) -> bytes:
    return conversation.until(b"\r\n").split(b" ")[1]


def told(conversation: Conversation) -> bytes:
    """What /health says of how the client was found."""
    head = conversation.until(b"\r\n\r\n")
    return head.partition(b"X-Realplexor-Client: ")[2].partition(b"\r\n")[0]


class TestHealthSaysHow:
    @pytest.mark.parametrize("lines", [row[0] for row in NAMED])
    def test_it_is_known(self, wire: Wire, lines: str) -> None:
        request = http(f"GET /health HTTP/1.1\nHost: h\n{lines}")
        assert told(wire.on_wait(request)) == b"forwarded"
        assert told(Conversation(wire.wait, request, source=OTHER)) == b"ignored"

    @pytest.mark.parametrize("lines", UNNAMED)
    def test_it_is_not_known(self, wire: Wire, lines: str) -> None:
        expected = b"peer" if lines.startswith("X_") or "Real-IP" in lines else b"unclear"
        assert told(wire.on_wait(http(f"GET /health HTTP/1.1\nHost: h\n{lines}"))) == expected

    def test_all_are_trusted(self, wire: Wire) -> None:
        request = http("GET /health HTTP/1.1\nHost: h\nX-Forwarded-For: 10.0.0.9, 10.0.0.2")
        assert told(wire.on_wait(request)) == b"forwarded"


class TestWho:
    @pytest.mark.parametrize(("lines", "host"), NAMED)
    def test_it_is(self, wire: Wire, prefix: str, lines: str, host: str) -> None:
        listener = wire.on_wait(poll(f"{prefix}a&position", lines))
        assert status(listener) == b"200"
        assert registered(wire, f"{prefix}a") == host
        listener.close()

    @pytest.mark.parametrize("lines", UNNAMED)
    def test_nobody_is_named(self, wire: Wire, prefix: str, lines: str) -> None:
        """No header refuses a poll."""
        listener = wire.on_wait(poll(f"{prefix}a&position", lines))
        assert status(listener) == b"200"
        assert registered(wire, f"{prefix}a") == "127.0.0.1"
        listener.close()

    @pytest.mark.parametrize("lines", [lines for lines, _ in NAMED])
    def test_nobody_else_may_say_it(self, wire: Wire, prefix: str, lines: str) -> None:
        listener = Conversation(wire.wait, poll(f"{prefix}a&position", lines), source=OTHER)
        assert status(listener) == b"200"
        assert registered(wire, f"{prefix}a") == OTHER
        listener.close()

    def test_each_request_of_a_kept_connection_is_another_ones(self, wire: Wire, prefix: str) -> None:
        listener = wire.on_wait()
        for number, host in enumerate(("203.0.113.1", "2001:db8::1", "127.0.0.1", "203.0.113.2")):
            lines = () if host == "127.0.0.1" else (f"X-Forwarded-For: {host}",)
            listener.send(poll(f"{prefix}{number}&position", *lines))
            listener.answer()
            assert registered(wire, f"{prefix}{number}") == host
        pipelined = [poll(f"{prefix}{id}&position", f"X-Forwarded-For: 203.0.113.{id}") for id in (7, 8, 9)]
        listener.send(b"".join(pipelined))
        for id in (7, 8, 9):
            listener.answer()
            assert registered(wire, f"{prefix}{id}") == f"203.0.113.{id}"
        listener.close()

    def test_a_listener_has_its_name_to_the_end(self, wire: Wire, prefix: str) -> None:
        listener = wire.on_wait(poll(f"5:{prefix}a", "X-Forwarded-For: 203.0.113.7", "Connection: close"))
        eventually(lambda: wire.online(prefix), f"{prefix}a 1\n")
        listener.close()
        wire.server.wait_for(rf"WAIT: 203\.0\.113\.7:\d+: DEBUG: \[5:{prefix}a\] connection closed")

    def test_different_names_in_both_headers_are_told(self, wire: Wire) -> None:
        wire.on_wait(poll("a&position", UNNAMED[4])).answer()
        wire.server.wait_for(r"WAIT: 127\.0\.0\.1: X-Forwarded-For and Forwarded name different clients")


class TestLimits:
    def waiting(self, wire: Wire, prefix: str, host: str, count: int, source: str = "") -> list[Conversation]:
        """Parked polls of one client by the proxy."""
        before = len(wire.online(prefix).splitlines())
        request = f"{prefix}{host.replace('.', '_')}_%d"
        lines = f"X-Forwarded-For: {host}"
        found = [Conversation(wire.wait, poll(request % n, lines), source=source) for n in range(count)]
        eventually(lambda: len(wire.online(prefix).splitlines()), before + count)
        return found

    def test_parked_polls_of_one_client_count(self, wire: Wire, prefix: str) -> None:
        held = [self.waiting(wire, prefix, f"203.0.113.{n}", LIMIT) for n in (1, 2, 3)]
        refused = wire.on_wait(poll("a", "X-Forwarded-For: 203.0.113.1"))
        assert refused.rest().startswith(b"HTTP/1.1 503 ")
        wire.server.wait_for(r"WAIT: 203\.0\.113\.1: refused, more than 2 connections from one address")
        wire.send(f"{prefix}203_0_113_1_0", "1")  # this one has its answer, and its connection stays open
        held[0][0].answer()
        again = wire.on_wait(poll("a&position", "X-Forwarded-For: 203.0.113.1"))
        assert status(again) == b"200"
        for conversation in (again, *[one for some in held for one in some]):
            conversation.close()

    def test_idle_connections_of_a_proxy_do_not(self, wire: Wire, prefix: str) -> None:
        held = [wire.on_wait() for _ in range(4 * LIMIT)]
        for number, conversation in enumerate(held):
            conversation.send(poll(f"{prefix}a&position", f"X-Forwarded-For: 203.0.113.{number % 2}"))
            conversation.answer()
        for conversation in held:
            conversation.close()

    def test_polls_that_nobody_is_named_for_count_for_the_proxy(self, wire: Wire, prefix: str) -> None:
        held = [wire.on_wait(poll(f"{prefix}{n}", UNNAMED[n])) for n in range(LIMIT)]
        eventually(lambda: len(wire.online(prefix).splitlines()), LIMIT)
        assert wire.on_wait(poll("a")).rest().startswith(b"HTTP/1.1 503 ")
        for conversation in held:
            conversation.close()
        eventually(lambda: status(wire.on_wait(poll("a&position"))), b"200")

    def test_others_count_for_themselves(self, wire: Wire, prefix: str) -> None:
        held = self.waiting(wire, prefix, "203.0.113.9", LIMIT, source=OTHER)
        forged = Conversation(wire.wait, poll("a", "X-Forwarded-For: 203.0.113.10"), source=OTHER)
        assert forged.rest().startswith(b"HTTP/1.1 503 ")
        for conversation in held:
            conversation.close()

    def test_a_client_has_its_own_share_of_the_grace_time(self, wire: Wire, prefix: str) -> None:
        for host, count in (("203.0.113.20", SHARE), ("203.0.113.21", 4 * SHARE)):
            ids = ",".join(f"{prefix}{host[-2:]}x{number:02}" for number in range(count))
            wire.on_wait(poll(f"{ids}&position", f"X-Forwarded-For: {host}", "Connection: close")).rest()
        eventually(lambda: len(wire.command(f"ONLINE {prefix}21\n\n").splitlines()), SHARE)
        assert len(wire.command(f"ONLINE {prefix}20\n\n").splitlines()) == SHARE


def test_reload(tmp_path: Path) -> None:
    file = tmp_path / "rplx.toml"

    def configure(*proxies: str) -> None:
        listed = ", ".join(f'"{proxy}"' for proxy in proxies)
        file.write_text(
            f"[wait]\ntrusted_proxies = [{listed}]\nmax_connections_per_address = 2\n[log]\nconnections = true\n"
        )

    def reload(server: LiveServer, *proxies: str) -> None:
        before = sum("is changed" in line for line in server.log)
        configure(*proxies)
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: sum("is changed" in line for line in server.log), before + 1)

    configure()
    with LiveServer("--config", str(file)) as server:
        wire = Wire(server)
        kept = wire.on_wait()
        parked: list[Conversation] = []
        for number, proxies in enumerate(((), ("127.0.0.1",), ("10.0.0.1",), ("127.0.0.0/8", "::1"))):
            if number:
                reload(server, *proxies)
            kept.send(poll(f"x{number}&position", "X-Forwarded-For: 203.0.113.7"))
            kept.answer()
            assert registered(wire, f"x{number}") == ("203.0.113.7" if number % 2 else "127.0.0.1")
            if number == 1:
                parked.append(wire.on_wait(poll("5:y", "X-Forwarded-For: 203.0.113.7")))
                eventually(lambda: wire.online("y"), "y 1\n")
        wire.send("6:y", "1")
        parked[0].answer()
        held = [wire.on_wait(poll(f"z{n}", "X-Forwarded-For: 203.0.113.7")) for n in range(2)]
        eventually(lambda: len(wire.online("z").splitlines()), 2)
        assert wire.on_wait(poll("z", "X-Forwarded-For: 203.0.113.7")).rest().startswith(b"HTTP/1.1 503 ")
        for conversation in (*held, *parked, kept):
            conversation.close()


@pytest.mark.parametrize("kind", BOTH)
class TestBehind:
    def test_the_client_is_named(self, wire: Wire, prefix: str, tmp_path: Path, kind: str) -> None:
        with in_front(kind, tmp_path, wire.wait, "forwarded") as front:
            listener = Conversation(front.address, poll(f"5:{prefix}a"), source=OTHER)
            assert registered(wire, f"{prefix}a") == OTHER
            wire.send(f"6:{prefix}a", "1")
            assert status(listener) == b"200"

    @pytest.mark.parametrize("forged", ["X-Forwarded-For: 203.0.113.7", 'X-Forwarded-For: "\nX-Forwarded-For: ,'])
    def test_it_cannot_name_another(self, wire: Wire, prefix: str, tmp_path: Path, kind: str, forged: str) -> None:
        with in_front(kind, tmp_path, wire.wait, "forwarded") as front:
            self.ask(front, f"{prefix}a", forged)
            assert registered(wire, f"{prefix}a") == OTHER
            self.ask(front, f"{prefix}b", "Forwarded: for=203.0.113.7")
            assert registered(wire, f"{prefix}b") == OTHER  # since the proxy takes it out, as the page on proxies says

    def ask(self, front: Front, channel: str, lines: str) -> None:
        asked = Conversation(front.address, poll(f"{channel}&position", lines), source=OTHER)
        assert status(asked) == b"200"
        asked.close()
