"""What is read from a file, from variables and from flags, and which of them counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from rplx.options.reading import load
from rplx.options.rows import OPTIONS
from rplx.options.table import Config


def test_file_then_environment_then_flags(toml) -> None:
    path = toml("[wait]\ntimeout = 1\nmaxlen = 1\nhead_max = 1\n")
    read = load(path, {"RPLX_WAIT_MAXLEN": "2", "RPLX_WAIT_HEAD_MAX": "2"}, [("wait.head_max", "3")])
    assert (read.wait.timeout, read.wait.maxlen, read.wait.head_max) == (1.0, 2, 3)
    assert isinstance(read.wait.timeout, float)


def test_all_values_of_a_file(toml) -> None:
    path = toml(
        'in.listen = ["[::1]:0", "localhost:10010"]\nin.check_json = false\nusers = { file = "/etc/rplx/users" }\n'
        '[wait]\nallowed_origins = ["https://example.com:8443", "*"]\n'
        '[hooks]\ncheck_visibility = "site.hooks:visible"\n'
    )
    read = load(path, {}, [])
    assert read.in_.listen == ("[::1]:0", "localhost:10010")
    assert read.in_.check_json is False
    assert read.users.file == "/etc/rplx/users"
    assert read.wait.allowed_origins == ("https://example.com:8443", "*")
    assert read.hooks.check_visibility == "site.hooks:visible"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("wait.timeout", "1.5", 1.5),
        ("wait.timeout", "2", 2.0),
        ("wait.maxlen", "1_000", 1000),
        ("wait.charset", "koi8-r", "koi8-r"),
        ("wait.charset", '"koi8-r"', "koi8-r"),
        ("wait.charset", "'koi8-r'", "koi8-r"),
        ("server.user", "1000", "1000"),
        ("server.user", "", ""),
        ("demo.enabled", "true", True),
        ("demo.enabled", "True", True),
        ("demo.enabled", "1", True),
        ("in.check_json", "off", False),
        ("wait.listen", "127.0.0.1:1,[::1]:2", ("127.0.0.1:1", "[::1]:2")),
        ("wait.listen", '["127.0.0.1:1", "[::1]:2"]', ("127.0.0.1:1", "[::1]:2")),
        ("wait.listen", "[::1]:2", ("[::1]:2",)),
        ("wait.listen", "[::1]:2, [::1]:3", ("[::1]:2", "[::1]:3")),
        ("wait.listen", "127.0.0.1:0", ("127.0.0.1:0",)),
        ("wait.allowed_origins", "", ()),
    ],
)
def test_texts_of_flags_and_variables(name: str, text: str, value: object) -> None:
    row = OPTIONS[name]
    assert row.value(load(None, {}, [(name, text)])) == value
    assert row.value(load(None, {row.variable: text}, [])) == value


def test_variables_of_others_are_left_alone() -> None:
    environ = {
        "PATH": "/bin",
        "RPLX_CONFIG": "/etc/rplx.toml",
        "RPLX_IN": "127.0.0.1:10010",
        "RPLX_WAIT": "127.0.0.1:8088",
        "RPLX_PASSWORD": "secret",
        "RPLX_GRANT_KEY": "secret",
        "RPLX_GRANT_KEY_OLD": "secret",
        "RPLX_GRANT_KID": "2026a",
        "RPLX_SERVICE_HOST": "10.0.0.1",
        "RPLX_SERVICE_PORT_HTTP": "80",
        "RPLX_PORT": "tcp://10.0.0.1:80",
        "RPLX_PORT_8088_TCP_ADDR": "10.0.0.1",
        "RPLX_WEB_SERVICE_PORT": "80",
        "RPLX_WEB_PORT_80_TCP": "tcp://10.0.0.1:80",
    }
    assert load(None, environ, []) == Config()


def test_a_byte_order_mark_before_a_file_is_skipped(tmp_path: Path) -> None:
    file = tmp_path / "rplx.toml"
    file.write_bytes(b"\xef\xbb\xbf[wait]\ntimeout = 7\n")
    assert load(str(file), {}, []).wait.timeout == 7
