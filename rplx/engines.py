"""Makes the engine that a configuration names. The one place that knows which engines there are."""

from __future__ import annotations

import time

from rplx.engine import Engine
from rplx.engine.memory import MemoryEngine
from rplx.errors import ConfigError
from rplx.log import Log
from rplx.options import Config

MEMORY_URL = "memory:"


def is_shared(config: Config) -> bool:
    """Whether history and presence live where several processes see them."""
    return config.engine.url != MEMORY_URL


def make_engine(config: Config) -> Engine:
    """The engine of `engine.url`. Errors: ConfigError if its library is not installed."""
    if not is_shared(config):
        return MemoryEngine(config.history, config.presence, wall=time.time, monotonic=time.monotonic)
    try:
        from rplx.engine.redis import RedisEngine
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("redis", "hiredis"):
            raise
        raise ConfigError(["engine.url: the Redis engine needs a library more: pip install rplx[redis]"]) from None
    engine: Engine = RedisEngine(config)
    return engine


def sweep(engine: Engine, config: Config, log: Log) -> None:
    """What time has brought, and its log lines (protocol page, part 4)."""
    offline, cleaned = engine.sweep()
    if log.connections:
        for id in offline:
            log.message(f"[{id}] is now offline")
        after = f"{config.history.expire_after:g}"
        for id in cleaned:
            log.message(f"[{id}] cleaned, because no data is pushed within last {after} seconds")
