from __future__ import annotations

import sys

import pytest

from rplx.engine.factory import make_engine
from rplx.engine.memory import MemoryEngine
from rplx.errors import ConfigError
from rplx.log import Log
from rplx.options.reading import load


def test_memory() -> None:
    engine = make_engine(load(None, {}, []), Log(0))
    assert isinstance(engine, MemoryEngine)
    engine.close()


def test_redis_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    config = load(None, {"RPLX_ENGINE_URL": "redis://127.0.0.1:1/0"}, [])
    with pytest.raises(ConfigError, match=r"pip install 'rplx\[redis\]'"):
        make_engine(config, Log(0))
