"""Makes the engine that a configuration names. Nothing else knows which engines there are."""

from __future__ import annotations

import importlib.util
import time

from rplx.engine import Engine
from rplx.engine.memory import MemoryEngine
from rplx.engine.sqlite.address import PREFIX as SQLITE_PREFIX
from rplx.errors import ConfigError
from rplx.log import Log
from rplx.options.table import Config

MEMORY_URL = "memory:"


def is_on_disk(config: Config) -> bool:
    """Returns whether one process keeps history and presence in a file."""
    return config.engine.url.startswith(SQLITE_PREFIX)


def is_shared(config: Config) -> bool:
    """Returns whether history and presence live where several processes see them."""
    return config.engine.url != MEMORY_URL and not is_on_disk(config)


def check_installed(config: Config) -> None:
    """Raises ConfigError if the library that `engine.url` needs is not installed. Does not load that library."""
    if is_shared(config) and importlib.util.find_spec("redis") is None:
        more = "the Redis engine needs a library more: pip install 'rplx[redis]'"
        raise ConfigError([f"engine.url: {more}; for the installed service run conf/install-service.sh again"])


def check_engine(config: Config) -> None:
    """Raises ConfigError as check_installed does, and if the URL names no Redis."""
    check_installed(config)
    if not is_shared(config):
        return
    from rplx.engine.redis.address import parse

    parse(config.engine.url)


def make_engine(config: Config, log: Log) -> Engine:
    """Returns the engine of `engine.url`, which has to be opened; it logs to `log`.

    Raises ConfigError as check_engine does.
    """
    check_engine(config)
    if is_on_disk(config):
        from rplx.engine.sqlite.engine import SqliteEngine

        return SqliteEngine(config, log=log)
    if not is_shared(config):
        return MemoryEngine(config.history, config.presence, wall=time.time, monotonic=time.monotonic)
    from rplx.engine.redis.engine import RedisEngine

    engine = RedisEngine(config, log=log)
    engine.start()
    return engine
