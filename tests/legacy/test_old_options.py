"""What old options become, and the file that they are migrated to."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from rplx.errors import ConfigError
from rplx.legacy import old_config
from rplx.legacy.keys import KEYS, OLD_CONFIG, legacy_value
from rplx.options.reading import load
from rplx.options.rows import OPTIONS, replace
from rplx.options.table import Config
from tests.legacy.old_files import OLD, OLD_VALUES


def test_fractions_are_numbers() -> None:
    read = old_config.to_config({"MAX_DATA_FOR_ID": 30.5, "IN_MAXLEN": "1000.9", "MAX_MEM_MB": 0.5})
    assert (read.history.max_messages, read.in_.maxlen, read.server.max_mem_mb) == (30, 1000, 0.5)


def test_a_timeout_of_0_is_none() -> None:
    read = old_config.to_config({"WAIT_TIMEOUT": 0, "IN_TIMEOUT": 0})
    assert (read.wait.timeout, read.in_.timeout) == (0, 1e9)
    assert legacy_value(read, "WAIT_TIMEOUT") == "86400"


@pytest.mark.parametrize(
    ("values", "environ", "checked"),
    [
        ({}, {}, True),
        ({"CHARSET": "UTF-8"}, {}, True),
        ({"CHARSET": "windows-1251"}, {}, False),
        ({"CHARSET": "windows-1251", "in.check_json": 1}, {}, True),
        ({"CHARSET": "windows-1251"}, {"RPLX_IN_CHECK_JSON": "true"}, True),
        ({"CHARSET": "windows-1251", "in.check_json": 0}, {"RPLX_IN_CHECK_JSON": "on"}, True),
        ({}, {"RPLX_WAIT_CHARSET": "koi8-r"}, False),
        ({"in.check_json": ""}, {}, False),
    ],
)
def test_messages_in_an_old_charset_are_not_checked(
    values: dict[str, object], environ: dict[str, str], checked: bool
) -> None:
    assert old_config.to_config(values, OLD_CONFIG, environ).in_.check_json is checked


# What each option is set to, as a text of the environment and as Perl, and what becomes of it
SETTINGS = {
    bool: ("0", "0", False),
    int: ("3", "3", 3),
    float: ("7.5", "7.5", 7.5),
    str: ("abc", "'abc'", "abc"),
    tuple: ("localhost", "['localhost']", ("localhost",)),
}
SPECIAL = {
    "wait.listen": ("127.0.0.1:1", "['127.0.0.1:1']", ("127.0.0.1:1",)),
    "in.listen": ("127.0.0.1:1", "'127.0.0.1:1'", ("127.0.0.1:1",)),
    "wait.allowed_origins": ("https://a.test", "['https://a.test']", ("https://a.test",)),
    "server.socket_mode": ("0600", "'0600'", "0600"),
    "users.may_send": ("shop=news", "['shop=news']", ("shop=news",)),
    "users.may_ask": ("shop=news", "['shop=news']", ("shop=news",)),
    "grants.keys": ("a=env:A_KEY", "['a=env:A_KEY']", ("a=env:A_KEY",)),
    "wait.trusted_proxies": ("10.0.0.0/8", "['10.0.0.0/8']", ("10.0.0.0/8",)),
    "hooks.check_visibility": ("a:b", "'a:b'", "a:b"),
    "log.verbosity": ("2", "2", 2),
    "engine.url": ("redis://h/0", "'redis://h/0'", "redis://h/0"),
    "engine.sync": ("process", "'process'", "process"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_can_be_set_with_the_old_command(conf, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    option = OPTIONS[name]
    environ, perl, value = SPECIAL.get(name) or SETTINGS[type(option.default)]
    if value is False and not option.value(OLD_CONFIG):
        environ, perl, value = "1", "1", True
    monkeypatch.setenv("RPLX_ENGINE_URL", "redis://h/0")  # so that workers may be more than one
    in_file = conf(f"$CONFIG{{'{name}'}} = {perl};")
    assert option.value(old_config.to_config(old_config.read_old_config(in_file)[0])) == value
    assert option.value(OLD_CONFIG) != value
    monkeypatch.setenv(option.variable, environ)
    for path in (None, conf("1;"), conf("%CONFIG = ();") + ".none"):
        assert option.value(old_config.config_loader(path)()[0]) == value


def test_a_wrong_variable_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RPLX_WAIT_MAX_IDS", "many")
    monkeypatch.setenv("RPLX_WAIT_MAXIDS", "5")
    with pytest.raises(ConfigError) as caught:
        old_config.config_loader(None)()
    assert len(caught.value.problems) == 2


def test_defaults_are_those_of_the_old_server() -> None:
    assert {key: option.value(OLD_CONFIG) for key, option in KEYS.items()} == {
        "SU_USER": "nobody",
        "WAIT_TIMEOUT": 300,
        "WAIT_MAXLEN": 5120,
        "WAIT_ADDR": ("0.0.0.0:8088",),
        "IN_TIMEOUT": 20,
        "IN_MAXLEN": 204800,
        "IN_ADDR": ("127.0.0.1:10010",),
        "EVENT_CHAIN_LEN": 1000,
        "HOOK_CHECK_VISIBILITY": "",
        "OFFLINE_TIMEOUT": 30,
        "MAX_DATA_FOR_ID": 30,
        "CLEAN_ID_AFTER": 3600,
        "CHARSET": "utf-8",
        "USERS_FILE": "",
        "IFRAME_FILE": "",
        "IFRAME_ID": "IFRAME",
        "SCRIPT_FILE": "",
        "SCRIPT_ID": "SCRIPT",
        "IDENTIFIER": "identifier",
        "JS_MAX_BOUNCES": 10,
        "JS_WAIT_RECONNECT_DELAY": 0.01,
        "JS_WAIT_URI": "/",
        "JS_DEBUG": 1,
        "VERBOSITY": 3,
        "MAX_MEM_MB": 0,
    }
    assert OLD_CONFIG.log.connections
    assert not OLD_CONFIG.in_.guests_loopback_only


def test_values_become_options() -> None:
    read = old_config.to_config(OLD_VALUES)
    assert {key: KEYS[key].value(read) for key in OLD_VALUES} == OLD_VALUES
    assert old_config.to_config({}, Config()) == Config()
    assert old_config.to_config({"SITE_KEY": 1, "ID_BINDINGS_SERVERS": []}, Config()) == Config()


def test_strings_and_numbers_stand_for_each_other_as_in_perl() -> None:
    raw = {
        "WAIT_TIMEOUT": "1.5",
        "WAIT_MAXLEN": "10",
        "SU_USER": 33,
        "JS_DEBUG": "",
        "VERBOSITY": 9,
        "IN_ADDR": "[::1]:1",
    }
    read = old_config.to_config(raw)
    assert (read.wait.timeout, read.wait.maxlen, read.server.user) == (1.5, 10, "33")
    assert (read.js.debug, read.log.verbosity, read.in_.listen) == (0, 3, ("[::1]:1",))


def test_undef_is_not_set_and_no_user() -> None:
    read = old_config.to_config(
        {"WAIT_TIMEOUT": None, "VERBOSITY": None, "IN_ADDR": None, "USERS_FILE": None, "SU_USER": None}
    )
    assert read == replace(OLD_CONFIG, {"server.user": ""})


def test_all_wrong_values_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        old_config.to_config({"WAIT_TIMEOUT": "x", "IN_ADDR": ["x"], "SU_USER": []})
    assert caught.value.problems == [
        'WAIT_TIMEOUT: must be a number, is "x"',
        'IN_ADDR: "x" is not HOST:PORT',
        "SU_USER: must be a string, is []",
    ]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("JS_WAIT_URI", "/rpl/"),
        ("JS_WAIT_RECONNECT_DELAY", "0.5"),
        ("WAIT_TIMEOUT", "300"),
        ("OFFLINE_TIMEOUT", "31.5"),
        ("JS_DEBUG", "0"),
        ("WAIT_ADDR", "0.0.0.0:8088,[::1]:8089"),
        ("NONE", None),
        ("", None),
    ],
)
def test_values_for_pages(key: str, text: str | None) -> None:
    assert legacy_value(old_config.to_config(OLD_VALUES), key) == text


def test_a_key_does_not_leave_its_comment(conf, tmp_path: Path) -> None:
    text = old_config.migrate_config(conf('$CONFIG{"a\\nwait.timeout = 5 \\x01"} = 1;'))
    assert "unknown key a\\nwait.timeout = 5 \\x01, ignored\n" in text
    path = tmp_path / "rplx.toml"
    path.write_text(text)
    assert load(str(path), {}, []) == OLD_CONFIG


def test_a_value_that_toml_cannot_hold(conf) -> None:
    path = conf("1;")
    Path(path).write_bytes(b"# \xef\xf3\xf2\xfc\n$CONFIG{USERS_FILE} = '/\xef\xf3\xf2\xfc';\n")
    assert old_config.read_old_config(path)[0]["USERS_FILE"] == "/\udcef\udcf3\udcf2\udcfc"
    with pytest.raises(ConfigError) as raised:
        old_config.migrate_config(path)
    assert raised.value.problems == [f"{path}: USERS_FILE: is not UTF-8, as TOML has to be"]


def test_the_migrated_file_means_the_same(tmp_path: Path) -> None:
    toml = old_config.migrate_config(OLD)
    assert toml.startswith(f"# Made from {OLD}. What is not set here has its default.\n# Not taken over: {OLD}:43: ")
    path = tmp_path / "rplx.toml"
    path.write_text(toml)
    assert load(str(path), {}, []) == old_config.to_config(OLD_VALUES)
    wait = tomllib.loads(toml)["wait"]
    assert wait["timeout"] == 300, "the old server's defaults are set"
    assert "maxlen" not in wait, "ours are not repeated"
