"""The keys of old Perl configuration files and what they are in a Config (protocol page, part 5)."""

from __future__ import annotations

import re

from rplx.config import checked
from rplx.options import OPTIONS, Config, Option, replace
from rplx.perl_config import Value, perl_text

KEYS: dict[str, Option] = {option.legacy: option for option in OPTIONS.values() if option.legacy}
READ_BY_NOTHING = re.compile(r"ID_BINDINGS_(SERVERS|SERVER_NAME)")
HOOK_KEY = "HOOK_CHECK_VISIBILITY"
HOOK_PROBLEM = (
    f"{HOOK_KEY} is Perl code, which is not run here: write the hook as a Python function "
    "and name it in the option hooks.check_visibility"
)

# The old server's defaults where they differ from ours. It let every machine that could connect to IN publish.
OLD_DEFAULTS: dict[str, object] = {
    "server.user": "nobody",
    "in.guests_loopback_only": False,
    "log.verbosity": 3,
    "log.connections": True,
}
OLD_CONFIG = replace(Config(), OLD_DEFAULTS)


def from_legacy(key: str, value: object) -> object:
    """The value of a known KEY as its option has it; ValueError with a one-line text where it cannot be one.

    Strings and numbers stand for each other as in Perl; undef leaves a number or list at its default.
    """
    option = KEYS[key]
    if key == HOOK_KEY and value not in (None, ""):
        raise ValueError(HOOK_PROBLEM)
    if key == "VERBOSITY" and isinstance(value, int):
        value = min(value, 3)  # more was the same as 3
    try:
        return checked(option, _coerced(option, value))
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
    return int(value) if isinstance(default, int) and isinstance(value, float) and value.is_integer() else value


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
    value: Value | tuple[str, ...] = option.value(config)
    return ",".join(value) if isinstance(value, tuple) else perl_text(value)  # type: ignore[arg-type]
