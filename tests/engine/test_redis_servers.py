"""Redis behind Sentinel, as a cluster, over TLS, with a password, by a socket file."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from rplx.engine.redis.servers import slot
from rplx.errors import Unavailable
from tests.engine.harness import Stalls, Tested, eventually
from tests.engine.test_redis_faults import SEND_LIMIT, assert_unavailable, send_until_it_works
from tests.redis_server import AVAILABLE, Cluster, RedisServer, Watched, free_port

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="redis-server is not installed")

FAILOVER_LIMIT = 30.0  # seconds


@pytest.fixture
def watched() -> Iterator[Watched]:
    started = Watched()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    started = Cluster(replicas=True)
    yield started
    started.stop()


def replicated(server: RedisServer) -> int:
    """How far a master has come, or its replica behind it."""
    (offset,) = re.findall(rb"\r\nmaster_repl_offset:(\d+)", server.ask(b"INFO replication"))
    return int(offset)


class TestSentinel:
    def test_failover(self, watched: Watched) -> None:
        one, two = Tested(watched.url), Tested(watched.url)
        position = one.enter("a")
        one.send("1", "a")
        two.engine.join(("a",))
        eventually(lambda: one.engine.online() == {"a": 2})
        sent = replicated(watched.master)
        eventually(lambda: replicated(watched.replica) >= sent)
        watched.master.kill()
        begin = time.monotonic()
        tries: list[str] = []
        while True:
            tries.append(f'"try {len(tries)}"')
            asked = time.monotonic()
            try:
                with Stalls() as stalls:
                    two.send(tries[-1], "a")
                break
            except Unavailable:
                assert time.monotonic() - asked - stalls.seconds < SEND_LIMIT
                assert time.monotonic() - begin < FAILOVER_LIMIT
        # Right now this process may not yet hear again what is announced: then a poll waits, and is told behind that.
        at_once = two.texts(a=position)
        eventually(lambda: one.announced()[-1:] == tries[-1:])
        heard = one.announced()
        # What was refused may have been stored all the same, if only its answer was lost: then once, and in its place.
        assert heard == ["1", *[text for text in tries if text in heard]]
        eventually(lambda: at_once + [text for text in two.announced() if text not in at_once] == heard)
        assert len(two.announced()) == len(set(two.announced()))
        assert two.texts(a=position) == heard
        assert one.gaps(a=position) == []
        assert one.recalled == []
        eventually(lambda: one.engine.online() == {"a": 2})
        assert one.shown() == ["online 11:a"]
        one.close()
        two.close()

    def test_a_service_that_no_sentinel_knows(self, watched: Watched) -> None:
        tested = Tested(watched.url.replace("/site", "/nothing"))
        assert_unavailable(tested, "a")
        assert any("no Sentinel knows the service" in line for line in tested.log)
        tested.close()


IDS = [f"c{number}" for number in range(40)]  # on all nodes


class TestCluster:
    def test_channels_of_all_nodes(self, cluster: Cluster) -> None:
        one, two = Tested(f"{cluster.url}?prefix=t1"), Tested(f"{cluster.url}?prefix=t1")
        position = one.enter(*IDS)
        receipt = two.send('"all"', *IDS)
        assert list(receipt) == IDS
        eventually(lambda: {id for message in one.sent for id in message.cursors} == set(IDS))
        assert len(one.sent) == len({slot(f"{{{id}}}") for id in IDS})  # once for each slot
        (due,) = two.engine.due(IDS, [position] * len(IDS))
        assert due.ids == receipt
        assert two.gaps(**dict.fromkeys(IDS, position)) == []
        assert one.engine.online() == dict.fromkeys(IDS, 1)
        assert sorted(two.engine.history()) == sorted(IDS)
        one.close()
        two.close()

    def test_a_prefix_in_braces_keeps_all_in_one_slot(self, cluster: Cluster) -> None:
        one = Tested(f"{cluster.url}?prefix={{t2}}")
        one.enter(*IDS)
        assert len(set(one.send('"all"', *IDS).values())) == 1
        eventually(lambda: len(one.sent) == 1)
        gevent.sleep(0.1)
        assert len(one.sent) == 1
        one.close()

    def test_a_slot_that_moves(self, cluster: Cluster) -> None:
        tested = Tested(f"{cluster.url}?prefix=t3")
        position = tested.enter("c1")
        tested.send("1", "c1")
        masters = cluster.servers[:3]
        moving = slot("{c1}")
        at = next(server for server in masters if b"MOVED" not in server.ask(b"GET {c1}"))
        to = next(server for server in masters if server is not at)
        node_ids = {server: server.ask(b"CLUSTER MYID").split()[1] for server in (at, to)}
        with at.client() as source, to.client() as target:
            target.execute_command("CLUSTER SETSLOT", moving, "IMPORTING", node_ids[at])
            source.execute_command("CLUSTER SETSLOT", moving, "MIGRATING", node_ids[to])
            while keys := source.execute_command("CLUSTER GETKEYSINSLOT", moving, 10):
                source.execute_command("MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", *keys)
            for server in (target, source):
                server.execute_command("CLUSTER SETSLOT", moving, "NODE", node_ids[to])
        send_until_it_works(tested, "2", "c1")
        eventually(lambda: tested.announced() == ["1", "2"])
        assert tested.texts(c1=position) == ["1", "2"]
        assert tested.gaps(c1=position) == []
        tested.close()

    def test_failover(self, cluster: Cluster) -> None:
        one, two = Tested(f"{cluster.url}?prefix=t4"), Tested(f"{cluster.url}?prefix=t4")
        position = one.enter(*IDS)
        for id in IDS:
            one.send("1", id)
        gevent.sleep(0.3)
        cluster.servers[0].kill()
        begin = time.monotonic()
        for id in IDS:
            while True:
                try:
                    two.send("2", id)
                    break
                except Unavailable:
                    assert time.monotonic() - begin < FAILOVER_LIMIT
        heard = [f"{id}{text}" for id in IDS for text in "12"]
        eventually(
            lambda: (
                sorted(f"{id}{message.data.decode()}" for message in one.sent for id in message.cursors)
                == sorted(heard)
            )
        )
        assert two.texts(**dict.fromkeys(IDS, position)) == ["1"] * 40 + ["2"] * 40
        assert one.recalled == []
        assert set(one.engine.online().values()) == {1}
        cluster.servers[0].start()
        one.close()
        two.close()


class TestConnections:
    def test_password_and_database(self) -> None:
        with RedisServer("requirepass s3cret@") as server:
            right = f"redis://:s3cret%40@127.0.0.1:{server.port}/3"
            tested = Tested(right)
            tested.send("1", "a")
            assert tested.texts(a="0") == ["1"]
            other = Tested(right.replace("/3", "/4"))  # another database: another world
            other.enter("a")
            tested.send("2", "a")
            gevent.sleep(0.1)
            assert other.sent == []
            assert other.texts(a="0") == []
            wrong = Tested(f"redis://:wrong@127.0.0.1:{server.port}/3")
            assert_unavailable(wrong, "a")
            assert any("is away" in line and "wrong@" not in line for line in wrong.log)
            for one in (tested, other, wrong):
                one.close()

    def test_a_socket_file(self, tmp_path: Path) -> None:
        path = tmp_path / "redis.sock"
        with RedisServer(f"unixsocket {path}"):
            tested = Tested(f"unix://{path}?db=2")
            tested.enter("a")
            tested.send("1", "a")
            eventually(lambda: tested.announced() == ["1"])
            tested.close()

    def test_tls(self, tmp_path: Path) -> None:
        key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
        subprocess.run(
            (
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate),
                *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            ),
            check=True,
            stderr=subprocess.DEVNULL,
        )
        port = free_port()
        options = (f"tls-port {port}", f"tls-cert-file {certificate}", f"tls-key-file {key}", "tls-auth-clients no")
        with RedisServer(*options) as server:
            tested = Tested(f"rediss://localhost:{port}/0?ssl_ca_certs={certificate}")
            tested.enter("a")
            tested.send("1", "a")
            eventually(lambda: tested.announced() == ["1"])
            server.pause()
            assert_unavailable(tested, "a")  # the loop goes on while TLS waits
            server.resume()
            stranger = Tested(f"rediss://localhost:{port}/0")  # not among the authorities that the system trusts
            assert_unavailable(stranger, "a")
            assert any("certificate" in line.lower() for line in stranger.log)
            tested.close()
            stranger.close()
