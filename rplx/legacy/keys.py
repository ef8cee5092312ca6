"""The keys of old configuration files, and the options that they set (protocol page, part 5)."""

from __future__ import annotations

import math
import re

from rplx.legacy.perl.config import Value, perl_text
from rplx.options.rows import OPTIONS, Option, replace
from rplx.options.table import NEVER, Config
from rplx.options.values import checked

KEYS: dict[str, Option] = {option.legacy: option for option in OPTIONS.values() if option.legacy}
UNUSED_KEYS = re.compile(r"ID_BINDINGS_(SERVERS|SERVER_NAME)")
HOOK_KEY = "HOOK_CHECK_VISIBILITY"
HOOK_PROBLEM = (
    f"{HOOK_KEY} is Perl code, which is not run here: write the hook as a Python function "
    "and name it in the option hooks.check_visibility"
)

# The old server's defaults where they differ from ours. It let every machine publish that could connect to IN, and
# bounded requests by their bytes alone (WAIT_MAXLEN, IN_MAXLEN), not the number of channels nor their names' length.
_UNBOUNDED = 1_000_000
_OLD_DEFAULTS: dict[str, object] = {
    "server.user": "nobody",
    "wait.timeout": 300.0,
    "server.drain": 10.0,
    "wait.max_ids": _UNBOUNDED,
    "wait.same_site": True,  # by document.domain, its page for old clients was used by them
    "wait.id_max": _UNBOUNDED,
    "in.max_ids": _UNBOUNDED,
    "in.guests_loopback_only": False,
    "log.verbosity": 3,
    "log.connections": True,
}
OLD_CONFIG = replace(Config(), _OLD_DEFAULTS)
FILE_KEYS = {"USERS_FILE", "IFRAME_FILE", "SCRIPT_FILE"}
PAGE_TIMEOUT = "86400"  # seconds that pages wait for an answer where WAIT_TIMEOUT is 0: browsers have no endless timer


def option_of(key: str) -> Option | None:
    """Returns the option that a key sets: an old KEY, or the name of an option such as 'wait.max_ids'; else None."""
    return KEYS.get(key) or OPTIONS.get(key)


def old_defaults() -> dict[str, Value]:
    """Returns what `%CONFIG` holds before an old file is read: the old server's defaults, to which the file may add."""
    values = {key: option.value(OLD_CONFIG) for key, option in KEYS.items()}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def option_value(key: str, value: object) -> object:
    """Returns the value of a key (see `option_of`) as its option has it.

    Strings and numbers stand for each other as in Perl; undef leaves a number or list at its default. Raises ValueError
    with a one-line text if the option cannot have that value.
    """
    option = option_of(key)
    assert option is not None
    if key == HOOK_KEY and value not in (None, ""):
        raise ValueError(HOOK_PROBLEM)
    if key == "VERBOSITY" and isinstance(value, int):
        value = min(value, 3)  # the old server took more for 3
    try:
        value = _coerced(option, value)
        if key == "IN_TIMEOUT" and value == 0:
            value = NEVER
        return checked(option, value)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _coerced(option: Option, value: object) -> object:
    default = option.default
    if value is None:
        return "" if isinstance(default, str) else option.value(OLD_CONFIG)
    if isinstance(default, tuple):
        return [_as_text(item) for item in value] if isinstance(value, (list, tuple)) else _as_text(value)
    if isinstance(default, str):
        return _as_text(value)
    if isinstance(value, str):
        value = _as_number(value)
    if isinstance(default, bool):
        return bool(value) if value in (0, 1) else value
    return int(value) if isinstance(default, int) and isinstance(value, float) and math.isfinite(value) else value


def _as_text(value: object) -> object:
    return perl_text(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _as_number(text: str) -> object:
    if not text.strip():
        return 0
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def legacy_value(config: Config, key: str) -> str | None:
    """Returns what `$KEY` stands for in the IFRAME and SCRIPT pages, as the old server printed it; None: no key."""
    option = KEYS.get(key)
    if option is None:
        return None
    if key == "WAIT_TIMEOUT" and not config.wait.timeout:
        return PAGE_TIMEOUT
    value: Value | tuple[str, ...] = option.value(config)
    return ",".join(value) if isinstance(value, tuple) else perl_text(value)  # type: ignore[arg-type]
