"""The keys of old Perl configuration files and what they are in a Config (protocol page, part 5)."""

from __future__ import annotations

import math
import re

from rplx.legacy.perl.config import Value, perl_text
from rplx.options.table import NEVER, OPTIONS, Config, Option, replace
from rplx.options.values import checked

KEYS: dict[str, Option] = {option.legacy: option for option in OPTIONS.values() if option.legacy}
READ_BY_NOTHING = re.compile(r"ID_BINDINGS_(SERVERS|SERVER_NAME)")
HOOK_KEY = "HOOK_CHECK_VISIBILITY"
HOOK_PROBLEM = (
    f"{HOOK_KEY} is Perl code, which is not run here: write the hook as a Python function "
    "and name it in the option hooks.check_visibility"
)

# The old server's defaults where they differ from ours. It let every machine that could connect to IN publish, and
# counted bytes (WAIT_MAXLEN, IN_MAXLEN) where we also count channels and the characters of their names.
UNCOUNTED = 1_000_000
OLD_DEFAULTS: dict[str, object] = {
    "server.user": "nobody",
    "wait.max_ids": UNCOUNTED,
    "wait.same_site": True,  # its page for old clients took polls from there, by document.domain
    "wait.id_max": UNCOUNTED,
    "in.max_ids": UNCOUNTED,
    "in.guests_loopback_only": False,
    "log.verbosity": 3,
    "log.connections": True,
}
OLD_CONFIG = replace(Config(), OLD_DEFAULTS)
FILE_KEYS = {"USERS_FILE", "IFRAME_FILE", "SCRIPT_FILE"}
PAGE_TIMEOUT = "86400"  # seconds that pages wait for an answer where WAIT_TIMEOUT is 0: timers in browsers have an end


def option_of(key: str) -> Option | None:
    """The option that a key of an old file sets: an old KEY, or an option by our own name, as in 'wait.max_ids'."""
    return KEYS.get(key) or OPTIONS.get(key)


def old_values() -> dict[str, Value]:
    """What `%CONFIG` holds before an old file is read: the old server appended it to its defaults."""
    values = {key: option.value(OLD_CONFIG) for key, option in KEYS.items()}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def from_legacy(key: str, value: object) -> object:
    """The value of a key (see `option_of`) as its option has it; ValueError with a one-line text if it cannot be one.

    Strings and numbers stand for each other as in Perl; undef leaves a number or list at its default.
    """
    option = option_of(key)
    assert option is not None
    if key == HOOK_KEY and value not in (None, ""):
        raise ValueError(HOOK_PROBLEM)
    if key == "VERBOSITY" and isinstance(value, int):
        value = min(value, 3)  # more was the same as 3
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
    """What `$KEY` stands for in the IFRAME and SCRIPT pages, as the old server printed it; None: no such option."""
    option = KEYS.get(key)
    if option is None:
        return None
    if key == "WAIT_TIMEOUT" and not config.wait.timeout:
        return PAGE_TIMEOUT
    value: Value | tuple[str, ...] = option.value(config)
    return ",".join(value) if isinstance(value, tuple) else perl_text(value)  # type: ignore[arg-type]
