"""All scenarios by name. A new one is a line here and a row of docs/reliability.md by itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple, Protocol

from tests.soak import (
    chatter,
    comeback,
    delivery,
    disk_kills,
    draining,
    dying_publishers,
    gaps,
    greedy,
    half_open,
    kills,
    log_targets,
    logins,
    paths,
    presence,
    reloads,
    resets,
    shortage,
    slow_readers,
    slowloris,
    steady,
)


class Count(Protocol):
    """What came out of a scenario: a dataclass of figures, and whether they are as promised.

    `sound` is there where promises are of time, too: whether all the others are kept.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def flawless(self) -> bool: ...


class Scenario(NamedTuple):
    """`title` says what is done; the long form is what docs/reliability.md shows, the short one is a test."""

    title: str
    long: Callable[[], Count]
    short: Callable[[], Count]


SCENARIOS = {
    "delivery": Scenario(
        "Listeners in all forms follow 200 channels and are torn away again and again",
        partial(delivery.run, messages=1_000_000, channels=200, listeners=500, reconnects=100_000),
        partial(delivery.run, messages=8_000, channels=40, listeners=80, reconnects=800),
    ),
    "gaps": Scenario(
        "Listeners resume from before and within history, in busy, quiet and emptied channels",
        partial(gaps.run, resumes=10_000),
        partial(gaps.run, resumes=400),
    ),
    "kills": Scenario(
        "The server is killed (-9) under load and started again, with listeners in all forms over HTTP",
        partial(kills.run, kills=20, listeners=200),
        partial(kills.run, kills=2, listeners=30),
    ),
    "disk_kills": Scenario(
        "History on disk: the server is killed (-9) under load at random moments, and started again",
        partial(disk_kills.run, kills=50, listeners=16, sync="always", kept=300),
        partial(disk_kills.run, kills=3, listeners=8, sync="always"),
    ),
    "disk_kills_process": Scenario(
        'The same with engine.sync = "process"',
        partial(disk_kills.run, kills=50, listeners=16, sync="process", kept=300),
        partial(disk_kills.run, kills=3, listeners=8, sync="process"),
    ),
    "presence": Scenario(
        "WATCH replayed against ONLINE while listeners come, hang up and are cut off",
        partial(presence.run, actions=200_000),
        partial(presence.run, actions=4_000),
    ),
    "steady": Scenario(
        "An hour of mixed listeners and back-ends at a modest rate",
        partial(steady.run, seconds=3600.0),
        partial(steady.run, seconds=8.0, listeners=100),
    ),
    "slow_readers": Scenario(
        "Listeners in all forms that read nothing come among honest ones, again and again",
        partial(slow_readers.run, honest=5000, slow=200, rounds=7),
        partial(slow_readers.run, honest=300, slow=40, rounds=5, write_timeout=1.0),
    ),
    "shortage": Scenario(
        "Descriptors run out while a crowd comes, on both lines",
        partial(shortage.run, limit=200, listeners=50, crowd=250, seconds=10.0),
        partial(shortage.run, limit=100, listeners=20, crowd=120, seconds=2.0),
    ),
    "half_open_options": Scenario(
        "Accepted sockets are asked for keep-alive and TCP_USER_TIMEOUT",
        partial(half_open.run_options, listeners=1000),
        partial(half_open.run_options, listeners=20),
    ),
    "resets": Scenario(
        "Listeners in all forms end with resets while a message goes out to them",
        partial(resets.run, listeners=50_000, wave=2000),
        partial(resets.run, listeners=1600, wave=400),
    ),
    "comeback": Scenario(
        "The server is killed and started, and all listeners come back at the same moment",
        partial(comeback.run, listeners=10_000),
        partial(comeback.run, listeners=1000),
    ),
    "dying_publishers": Scenario(
        "Back-ends die at every byte of a send, by a reset and by an early end",
        partial(dying_publishers.run),
        partial(dying_publishers.run, step=3),
    ),
    "log_full": Scenario(
        "The log goes to a full device",
        partial(log_targets.run, target="full", polls=20_000),
        partial(log_targets.run, target="full", polls=200),
    ),
    "log_stuck": Scenario(
        "The log goes to a pipe that nobody reads",
        partial(log_targets.run, target="stuck", polls=20_000),
        partial(log_targets.run, target="stuck", polls=400),
    ),
    "log_closed": Scenario(
        "The log goes to a pipe whose reader has gone",
        partial(log_targets.run, target="closed", polls=20_000),
        partial(log_targets.run, target="closed", polls=200),
    ),
    "reloads": Scenario(
        "SIGHUP under load, with good and bad files alternating",
        partial(reloads.run, times=100, listeners=2000),
        partial(reloads.run, times=12, listeners=50),
    ),
    "draining": Scenario(
        "SIGTERM under load, with listeners in all forms and a silent back-end",
        partial(draining.run, listeners=3000),
        partial(draining.run, listeners=150, drain=1.5),
    ),
    "slowloris": Scenario(
        "Connections that send a byte now and then, or none at all",
        partial(slowloris.run, slow=5000, silent=500, honest=500),
        partial(slowloris.run, slow=100, silent=20, honest=50, timeout=2.0, every=0.3),
    ),
    "chatter": Scenario(
        "Parked listeners send what they may, and one byte more",
        partial(chatter.run, listeners=3000),
        partial(chatter.run, listeners=90),
    ),
    "greedy": Scenario(
        "Polls beside a back-end that sends ahead without a pause",
        partial(greedy.run, seconds=20.0, promised_ms=50.0),
        partial(greedy.run, seconds=1.0, promised_ms=8000.0),  # on a busy machine: they are answered at all
    ),
    "logins": Scenario(
        "Wrong passwords for known and unknown logins: does the time tell which?",
        partial(logins.run, samples=10_000),
        partial(logins.run, samples=100),
    ),
    "guessers": Scenario(
        "Polls while eight guessers keep the hashing threads at work",
        partial(logins.run_busy, seconds=20.0),
        partial(logins.run_busy, seconds=1.0),
    ),
    "paths": Scenario(
        "Tabs of Chromium and Python listeners behind proxies as they are by default and as advised, and a restart",
        paths.run,
        partial(
            paths.run,
            fronts=paths.QUICK,
            pace=paths.Pace(part=2.5, quiet=2.2, busy=0.2, grace=3.0, drain=0.5, poll=1.2),
            scaled=True,  # what is promised holds on an idle machine: on a busy one all of it works at all
            message=8.0,
            gap=8.0,
            notice=8.0,
        ),
    ),
}
