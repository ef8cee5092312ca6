"""What docs/proxies.md has measured: `python -m tests.proxies.measure [SECONDS]` prints the rows of its table.

Messages are timed first, one configuration after the other. Then polls are left waiting behind all of them at once,
until they are cut or SECONDS (310) are over.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import ssl
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.live import LiveServer
from tests.proxies.fronts import Address, Block, Front, certificate, front, page_blocks

STEP = 0.01  # seconds between two looks
MESSAGES = 25  # of which the median counts
_numbers = itertools.count(1)

# The shortest configurations that forward; all else is as the programs have it.
SHORTEST = {
    "nginx": Block("nginx", "server { listen 80; location / { proxy_pass http://127.0.0.1:8088; } }", False),
    "HAProxy, its timeouts as Debian has them": Block(
        "haproxy",
        "defaults\n mode http\n timeout client 50s\n timeout server 50s\n"
        "listen a\n bind :80\n server a 127.0.0.1:8088\n",
        False,
    ),
    "HAProxy": Block("haproxy", "defaults\n mode http\nlisten a\n bind :80\n server a 127.0.0.1:8088\n", False),
    "Apache": Block("apache", "ProxyPass / http://127.0.0.1:8088/", False),
    "Caddy": Block("caddy", ":80 {\n reverse_proxy 127.0.0.1:8088\n}\n", False),
    "Caddy, flush_interval -1": Block(
        "caddy", ":80 {\n reverse_proxy 127.0.0.1:8088 {\n  flush_interval -1\n }\n}\n", False
    ),
    "Varnish": Block("varnish", 'vcl 4.1;\nbackend a { .host = "127.0.0.1"; .port = "8088"; }\n', False),
}


def new_id() -> str:
    """Returns a channel that nobody else uses."""
    return f"measured{next(_numbers)}"


def connect(front: Front, timeout: float = 120.0) -> http.client.HTTPConnection:
    if front.tls:
        context = ssl._create_unverified_context()
        return http.client.HTTPSConnection(*front.address, timeout=timeout, context=context)
    return http.client.HTTPConnection(*front.address, timeout=timeout)


def path(block: Block) -> str:
    """Returns the path at which the block has the WAIT line."""
    return "/rpl/" if "/rpl/" in block.text else "/"


def command(in_: Address, text: str) -> str:
    """Returns what IN answers to a command."""
    connection = http.client.HTTPConnection(*in_, timeout=120)
    connection.request("POST", "/", text.encode())
    answer = connection.getresponse().read().decode()
    connection.close()
    return answer


def send(in_: Address, id: str, message: str) -> None:
    connection = http.client.HTTPConnection(*in_, timeout=120)
    connection.request("POST", f"/?identifier={id}", message.encode())
    assert connection.getresponse().status == 200
    connection.close()


def becomes(in_: Address, id: str, count: int, limit: float) -> float | None:
    """Returns the seconds until ONLINE counts so many listeners of `id`, or None if it does not in time."""
    begin = time.monotonic()
    while f"{id} {count}\n" not in command(in_, f"ONLINE {id}\n"):
        if time.monotonic() - begin > limit:
            return None
        time.sleep(STEP)
    return time.monotonic() - begin


def message_after(front: Front, prefix: str, in_: Address) -> float:
    """Returns the seconds from a send until a listener behind `front` has the whole answer."""
    id, connection = new_id(), connect(front)
    connection.request("GET", f"{prefix}?identifier={id}")
    assert becomes(in_, id, 1, 60) is not None, "the poll does not get there"
    begin = time.monotonic()
    send(in_, id, '"at once"')
    assert b'"at once"' in connection.getresponse().read()
    connection.close()
    return time.monotonic() - begin


def noticed_after(front: Front, prefix: str, in_: Address, limit: float) -> float | None:
    """Returns the seconds until a listener that has hung up is not counted any more, or None: not within `limit`."""
    id, connection = new_id(), connect(front)
    connection.request("GET", f"{prefix}?identifier={id}")
    assert becomes(in_, id, 1, 60) is not None
    connection.close()
    return becomes(in_, id, 0, limit)


def cut_after(front: Front, prefix: str, limit: float) -> float | None:
    """Returns the seconds until a poll to which nothing comes is ended, or None if it still waits after `limit`."""
    connection = connect(front, limit)
    begin = time.monotonic()
    connection.request("GET", f"{prefix}?identifier={new_id()}")
    with contextlib.suppress(http.client.HTTPException, ConnectionError):
        try:
            connection.getresponse().read()
        except TimeoutError:
            return None
        finally:
            connection.close()
    return time.monotonic() - begin


def message(block: Block, server: LiveServer, folder: Path) -> float:
    """Returns the median of the seconds that messages take."""
    with front(block, folder, server.wait, folder.parent) as started:
        return statistics.median(message_after(started, path(block), server.in_) for _ in range(MESSAGES))


def waits(block: Block, server: LiveServer, folder: Path, limit: float) -> list[str]:
    """Returns what the table says of a poll that is left waiting, and of one that has hung up."""
    with front(block, folder, server.wait, folder.parent) as started, ThreadPoolExecutor(2) as pool:
        cut = pool.submit(cut_after, started, path(block), limit)
        noticed = pool.submit(noticed_after, started, path(block), server.in_, limit)
        pending = (cut.result(), noticed.result())
    return [f"not in {limit:g} s" if seconds is None else f"{seconds:.2f} s" for seconds in pending]


def main(limit: float = 310.0) -> None:
    rows = {f"{name}, shortest": block for name, block in SHORTEST.items()}
    rows.update({f"{name}, the block": block for name, block in page_blocks().items()})
    with (
        tempfile.TemporaryDirectory() as place,
        LiveServer("--set", "wait.timeout=1000") as server,
        ThreadPoolExecutor(len(rows)) as pool,
    ):
        folders = [certificate(Path(place)) / str(number) for number in range(len(rows))]
        messages = [message(block, server, folder) for block, folder in zip(rows.values(), folders, strict=True)]
        pending = [
            pool.submit(waits, block, server, folder, limit)
            for block, folder in zip(rows.values(), folders, strict=True)
        ]
        for name, seconds, rest in zip(rows, messages, pending, strict=True):
            print(f"| {name} | {seconds * 1000:.0f} ms | {' | '.join(rest.result())} |", flush=True)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
