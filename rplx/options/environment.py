"""The configuration of processes that nobody started through `rplx serve`. Imports no gevent."""

from __future__ import annotations

import os

from rplx.errors import ConfigError
from rplx.options.checks import parse_target
from rplx.options.reading import load
from rplx.options.table import Config

CONFIG_VARIABLE = "RPLX_CONFIG"
IN_VARIABLE = "RPLX_IN"
# Where a server is reached that listens on all addresses.
REACHED_AT = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def configuration() -> Config:
    """Returns what `RPLX_CONFIG` and the other `RPLX_` variables say. Raises ConfigError."""
    return load(os.environ.get(CONFIG_VARIABLE) or None, os.environ, [])


def in_address() -> tuple[str, int]:
    """Returns where the IN line is reached: at `RPLX_IN`, else the first of `in.listen`. Raises ConfigError."""
    given = os.environ.get(IN_VARIABLE)
    try:
        if given:
            return parse_target(given)
        host, port = parse_target(configuration().in_.listen[0])
    except ValueError as error:
        raise ConfigError([f"{IN_VARIABLE if given else 'in.listen'}: {error}"]) from None
    return REACHED_AT.get(host, host), port
