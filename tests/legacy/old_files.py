"""An old configuration file with every form, and what its values are."""

from __future__ import annotations

from pathlib import Path

FIXTURES = Path(__file__).parents[1] / "fixtures"
OLD = str(FIXTURES / "old.conf")
OLD_VALUES = {
    "SU_USER": "www-data",
    "WAIT_ADDR": ("0.0.0.0:8088", "[::1]:8089"),
    "WAIT_TIMEOUT": 300.0,
    "WAIT_MAXLEN": 5120,
    "IN_ADDR": ("127.0.0.1:10010",),
    "IN_MAXLEN": 204800,
    "IN_TIMEOUT": 20.0,
    "OFFLINE_TIMEOUT": 31.5,
    "CLEAN_ID_AFTER": 7200.0,
    "MAX_DATA_FOR_ID": 30,
    "EVENT_CHAIN_LEN": 1000,
    "HOOK_CHECK_VISIBILITY": "",
    "CHARSET": "utf-8",
    "USERS_FILE": str(FIXTURES / "users"),
    "IFRAME_FILE": str(FIXTURES.parent / "html/realplexor.html"),
    "SCRIPT_FILE": str(FIXTURES / "js/realplexor.js"),
    "IDENTIFIER": "identifier",
    "JS_WAIT_URI": "/rpl/",
    "JS_WAIT_RECONNECT_DELAY": 0.5,
    "VERBOSITY": 3,
    "MAX_MEM_MB": 128,
    "JS_DEBUG": 0,
    "JS_MAX_BOUNCES": 16,
}
