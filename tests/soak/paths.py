"""Browsers and Python listeners behind real proxies: is each message there at once, and everybody always online?"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import re
import signal
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rplx.client import Realplexor, RealplexorError
from rplx.client.listener import Listener
from tests.live import LiveServer
from tests.proxies.fronts import Block, Front, certificate, front, page_blocks
from tests.proxies.measure import SHORTEST, path
from tests.soak.browser import Chromium, Site
from tests.soak.polls import LoggedServer, Polls
from tests.waiting import eventually

LOOK_EVERY = 1.0  # seconds between two questions who is online
MISSED = 60.0  # seconds after which a message counts as lost
STEP = 0.02  # seconds between two looks at what is due to be sent
START_TIMEOUT = 150.0  # seconds until all listen: timers of a page that has long been hidden run once a minute
KINDS = ("tab", "python")
LOADS = ("busy", "quiet")

# As the programs and Debian have them, and then as docs/proxies.md advises.
FRONTS = {
    "nginx_default": SHORTEST["nginx"],
    "haproxy_default": SHORTEST["HAProxy, its timeouts as Debian has them"],
    **{re.sub(r"\W+", "_", name.lower()): block for name, block in page_blocks().items()},
}

QUICK = {name: block for name, block in FRONTS.items() if name not in ("nginx", "haproxy", "varnish")}
CUTTING = {
    "nginx_20s": Block(
        "nginx",
        "server { listen 80; location / { proxy_pass http://127.0.0.1:8088; proxy_read_timeout 20s; } }",
        False,
    )
}
"""A path that cuts sooner than polls ask to be ended."""


def hasty(block: Block) -> Block:
    """Returns a configuration whose path cuts after 6 s instead of a minute."""
    text = block.text.replace("listen 80; location", "listen 80; proxy_read_timeout 6s; location")
    return block._replace(text=text.replace(" 50s", " 6s"))


def fault(text: str) -> None:
    """Says at once what the figures only count."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


@dataclass
class Count:
    """`flaps` are looks and events by which somebody was offline who listened; gaps and latencies are in seconds."""

    seconds: float = 0.0  # watched, without the restart
    fronts: int = 0
    tabs: int = 0
    hidden: int = 0  # of them, as all but one are in a window
    listeners: int = 0  # in Python
    messages: int = 0
    lost: int = 0
    disordered: int = 0  # doubled, or behind a later one
    late: int = 0  # messages that took longer than is promised
    slowest: float = 0.0  # message
    polls: int = 0
    longest_gap: float = 0.0  # between two polls of one listener, as the server sees it
    looks: int = 0
    flaps: int = 0
    disconnects: int = 0  # that tabs were told of
    back_after: float = 0.0  # until all listen again, from when the restarted server does
    not_told: int = 0  # listeners that were not told that the restart lost messages
    told_for_nothing: int = 0
    noticed_after: float = 0.0  # until the server knows that all have left, without the grace time
    errors: int = 0
    machine_stall: float = 0.0  # the longest that this program itself was not run: not judged, to read the others by
    message_promised: float = 1.0
    gap_promised: float = 1.5
    notice_promised: float = 60.0  # where a proxy sees that a browser has gone when it writes to it: two heartbeats

    def gap(self, id: str, seconds: float) -> None:
        """Takes a time between two polls."""
        self.polls += 1
        self.longest_gap = max(self.longest_gap, seconds)
        if seconds > self.gap_promised:
            fault(f"{id}: {seconds:.2f} s between two polls")

    @property
    def sound(self) -> bool:
        faults = self.lost + self.disordered + self.flaps + self.disconnects + self.not_told + self.told_for_nothing
        worked = self.messages > 0 and self.polls > 0 and self.looks > 0
        return worked and not (faults or self.errors)

    @property
    def flawless(self) -> bool:
        late = self.late > 0 or self.longest_gap > self.gap_promised or self.noticed_after > self.notice_promised
        return self.sound and not late


@dataclass
class Heard:
    """What one listener has told so far."""

    ready: bool = False
    numbers: list[tuple[int, int]] = field(default_factory=list)  # the order of hearing, the number of the message
    gaps: int = 0


class Ears:
    """All listeners, by their channels."""

    def __init__(self, ids: Sequence[str], count: Count) -> None:
        self.heard = {id: Heard() for id in ids}
        self._count = count
        self.judged = False
        self._lock = threading.Lock()

    def take(self, told: dict[str, Any]) -> None:
        """Takes an event: its `kind`, `id`, `at` (seconds), `order` and, of a message, `data`."""
        with self._lock:
            heard = self.heard[told["id"]]
            if told["kind"] == "message":
                heard.numbers.append((told["order"], told["data"]["n"]))
                self._late(told["id"], told["at"] - told["data"]["at"])
            elif told["kind"] == "gap":
                heard.gaps += 1
            elif told["kind"] == "ready":
                heard.ready = True
                self._count.hidden += told.get("visibility") == "hidden"
            elif self.judged:
                self._count.disconnects += told["kind"] == "disconnected"
                self._count.errors += told["kind"] == "stalled"
                fault(f"{told['id']}: {told}")

    def _late(self, id: str, seconds: float) -> None:
        self._count.slowest = max(self._count.slowest, seconds)
        if seconds > self._count.message_promised:
            self._count.late += 1
            fault(f"{id}: a message took {seconds:.2f} s")

    def number(self, id: str) -> int:
        """Returns how many different messages a listener has heard."""
        return len({number for _, number in list(self.heard[id].numbers)})

    def disordered(self) -> int:
        """Returns how many messages were doubled or came behind a later one."""
        found = 0
        for heard in self.heard.values():
            numbers = [number for _, number in sorted(heard.numbers)]
            found += sum(after <= before for before, after in itertools.pairwise(numbers))
        return found


class PythonListeners:
    """Threads that listen with rplx.client."""

    def __init__(self, ears: Ears, count: Count) -> None:
        self._ears = ears
        self._count = count
        self._listeners: list[Listener] = []
        self._threads: list[threading.Thread] = []

    def open(self, id: str, url: str, context: ssl.SSLContext) -> None:
        thread = threading.Thread(target=self._follow, args=(id, url, context), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _follow(self, id: str, url: str, context: ssl.SSLContext) -> None:
        tell = lambda kind, **more: self._ears.take({"id": id, "kind": kind, **more})  # noqa: E731
        client = Realplexor(tls=context)
        try:
            with client.listen([id], url, transport="poll", on_gap=lambda _: tell("gap")) as listener:
                self._listeners.append(listener)
                tell("ready")
                for order, message in enumerate(listener):
                    tell("message", order=order, at=time.time(), data=message.data)
        except RealplexorError as error:
            self._count.errors += 1
            fault(f"{id}: {error!r}")

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()
        for thread in self._threads:
            thread.join(START_TIMEOUT)


class BackEnd:
    """Sends to the busy and the quiet channels as the pace says."""

    def __init__(self, client: Realplexor, ids: Sequence[str], pace: Pace, count: Count) -> None:
        self._client = client
        self._count = count
        self._every = {id: pace.busy if id.endswith("busy") else pace.quiet for id in ids}
        self.sent = dict.fromkeys(ids, 0)

    def send(self, seconds: float) -> None:
        begin = time.monotonic()
        due = {id: begin + every * 0.5 for id, every in self._every.items()}
        while (now := time.monotonic()) < begin + seconds:
            for id in [id for id, at in due.items() if at <= now]:
                due[id] = now + self._every[id]
                self.send_one(id)
            before = time.monotonic()
            time.sleep(STEP)
            self._count.machine_stall = max(self._count.machine_stall, time.monotonic() - before - STEP)

    def send_one(self, id: str) -> None:
        self.sent[id] += 1
        self._client.send(id, {"n": self.sent[id], "at": time.time()})


class Presence:
    """Asks ONLINE and WATCH once a second whether those who listen are online."""

    def __init__(self, client: Realplexor, ids: Sequence[str], count: Count) -> None:
        self._client = client
        self._ids = set(ids)
        self._count = count
        self._position = client.watch()[-1].pos
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(LOOK_EVERY):
            missing = self._ids - set(self._client.online())
            events = self._client.watch(self._position)
            gone = [event.id for event in events if event.event == "offline" and event.id in self._ids]
            self._position = events[-1].pos if events else self._position
            self._count.looks += 1
            self._count.flaps += len(missing) + len(gone)
            if missing or gone:
                fault(f"offline by ONLINE: {sorted(missing)}, by WATCH: {gone}")

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()


@dataclass(frozen=True)
class Pace:
    """How long each of the two parts is, and what is scaled to it. All in seconds."""

    part: float
    quiet: float  # between two messages in a quiet channel
    busy: float
    grace: float
    drain: float
    warm_up: float = 0.0  # until all pages are at rest
    poll: float | None = None  # wait.timeout, else that of the server

    @property
    def options(self) -> list[str]:
        given = [f"presence.offline_timeout={self.grace}", f"server.drain={self.drain}"]
        # Some proxies see that a browser has gone when they write to it: at the end of its poll, or by a heartbeat.
        given += [] if self.poll is None else [f"wait.timeout={self.poll}", "wait.heartbeat=1"]
        return [word for option in given for word in ("--set", option)]


REAL = Pace(part=900.0, quiet=97.0, busy=0.5, grace=30.0, drain=8.0, warm_up=15.0)  # grace and drain as by default


class Street:
    """Two tabs and two Python listeners behind each front, a busy and a quiet one of each kind."""

    def __init__(self, fronts: Iterable[str], count: Count, pace: Pace, certificates: Path) -> None:
        self.ids = [f"{name}_{kind}_{load}" for name in fronts for kind in KINDS for load in LOADS]
        self.ears = Ears(self.ids, count)
        self._count = count
        self._pace = pace
        # Two sites, as tabs of one site that listen at the same server would share a poll.
        self._sites = {load: Site(self.ears.take) for load in LOADS}
        self._python = PythonListeners(self.ears, count)
        self._context = ssl.create_default_context(cafile=certificates / "site.pem")
        self._tabs: list[str] = []
        origins = json.dumps([site.origin for site in self._sites.values()])
        self.options = [*pace.options, "--set", f"wait.allowed_origins={origins}"]

    def open(self, chromium: Chromium, urls: Mapping[str, str]) -> None:
        """Has all listen; `urls` are those of the WAIT line behind each front."""
        for id in self.ids:
            name, kind, load = id.rsplit("_", 2)
            if kind == "tab":
                self._tabs.append(chromium.open(self._sites[load].page(id, urls[name])))
            else:
                self._python.open(id, urls[name], self._context)
        self._count.tabs = len(self._tabs)
        self._count.listeners = len(self.ids) - len(self._tabs)
        waiting = lambda: [id for id, heard in self.ears.heard.items() if not heard.ready]  # noqa: E731
        eventually(waiting, [], START_TIMEOUT)

    def watch(self, polls: Polls, back_end: BackEnd, client: Realplexor) -> None:
        """Sends and looks for one part, while everybody listens."""
        presence = Presence(client, self.ids, self._count)
        begin = time.monotonic()
        polls.judged = self.ears.judged = True
        try:
            back_end.send(self._pace.part)
            with contextlib.suppress(AssertionError):
                missing = lambda: [id for id in self.ids if self.ears.number(id) < back_end.sent[id]]  # noqa: E731
                eventually(missing, [], MISSED)
        finally:
            polls.judged = self.ears.judged = False
            presence.stop()
        self._count.seconds += time.monotonic() - begin

    def close(self, chromium: Chromium, client: Realplexor) -> None:
        for tab in self._tabs:
            chromium.close(tab)
        self._python.close()
        begin = time.monotonic()
        with contextlib.suppress(AssertionError):
            eventually(client.online, [], self._count.notice_promised + self._pace.grace + 1)
        self._count.noticed_after = max(0.0, time.monotonic() - begin - self._pace.grace)

    def stop(self) -> None:
        self._python.close()
        for site in self._sites.values():
            site.stop()


@contextlib.contextmanager
def _fronts(blocks: dict[str, Block], folder: Path, server: LiveServer) -> Iterator[dict[str, str]]:
    """Starts all fronts; gives the address of the WAIT line behind each."""
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        start: Callable[[str], Front] = lambda name: stack.enter_context(  # noqa: E731
            front(blocks[name], folder / name, server.wait, folder)
        )
        started = dict(zip(blocks, pool.map(start, blocks), strict=True))
        yield {name: found.url.rstrip("/") + path(blocks[name]) for name, found in started.items()}


def run(
    *,
    fronts: Mapping[str, Block] = FRONTS | CUTTING,
    pace: Pace = REAL,
    seconds: float | None = None,
    scaled: bool = False,
    message: float = 1.0,
    gap: float = 1.5,
    notice: float = 60.0,
) -> Count:
    """`seconds`: in all, if not those of `pace`. `scaled`: proxies cut after seconds, too.

    `message`, `gap` and `notice` are the seconds that are promised.
    """
    if seconds is not None:
        pace = dataclasses.replace(pace, part=seconds / 2)
    count = Count(fronts=len(fronts), message_promised=message, gap_promised=gap, notice_promised=notice)
    blocks = {name: hasty(block) if scaled else block for name, block in fronts.items()}
    with contextlib.ExitStack() as stack:
        folder = certificate(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rplx-paths-"))))
        street = Street(blocks, count, pace, folder)
        stack.callback(street.stop)
        polls = Polls(count.gap)
        first = stack.enter_context(LoggedServer(polls, *street.options))
        urls = stack.enter_context(_fronts(blocks, folder, first))
        chromium = stack.enter_context(Chromium())
        street.open(chromium, urls)
        client = stack.enter_context(Realplexor(*first.in_))
        back_end = BackEnd(client, street.ids, pace, count)
        _all_listen(street, polls)
        time.sleep(pace.warm_up)
        street.watch(polls, back_end, client)
        first.stop(signal.SIGTERM)
        polls = Polls(count.gap)
        addresses = ("--wait", "%s:%d" % first.wait, "--in", "%s:%d" % first.in_)
        stack.enter_context(LoggedServer(polls, *addresses, *street.options, addresses=False))
        count.back_after = _all_listen(street, polls)
        street.watch(polls, back_end, client)
        street.close(chromium, client)
        _judge(count, street, back_end)
    return count


def _all_listen(street: Street, polls: Polls) -> float:
    """Waits until everybody has a poll at the server; returns how many seconds it took."""
    begin = time.monotonic()
    eventually(lambda: set(street.ids) - polls.known, set(), START_TIMEOUT)
    return time.monotonic() - begin


def _judge(count: Count, street: Street, back_end: BackEnd) -> None:
    count.messages = sum(back_end.sent.values())
    count.lost = count.messages - sum(map(street.ears.number, street.ids))
    count.disordered = street.ears.disordered()
    gaps = [heard.gaps for heard in street.ears.heard.values()]
    count.not_told = gaps.count(0)
    count.told_for_nothing = sum(told - 1 for told in gaps if told)
