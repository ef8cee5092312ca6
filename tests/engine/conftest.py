from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.clock import Clock, Engine
from tests.engine.harness import Make, Tested, be_patient
from tests.redis_server import AVAILABLE, Cluster, RedisServer

NEED_REDIS = pytest.mark.skipif(not AVAILABLE, reason="redis-server is not installed")
numbers = itertools.count()


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    started = Cluster()
    yield started
    started.stop()


@pytest.fixture(
    params=["memory", "sqlite", pytest.param("redis", marks=NEED_REDIS), pytest.param("cluster", marks=NEED_REDIS)],
)
def make(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes engines: `make(history__max_messages=3)`. Those that several processes may have share one store."""
    be_patient(monkeypatch)
    made: list[Tested] = []
    url = "memory:"
    if request.param == "redis":
        url = f"{request.getfixturevalue('redis_server').url}?prefix=t{next(numbers)}"
    elif request.param == "cluster":
        url = f"{request.getfixturevalue('cluster').url}?prefix=t{next(numbers)}"

    def tested(**options: object) -> Tested:
        own = f"sqlite:///{tmp_path}/{next(numbers)}.db" if request.param == "sqlite" else url
        made.append(Tested(own, **options))
        return made[-1]

    yield tested
    for one in made:
        one.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(clock: Clock) -> Engine:
    return Engine(clock)
