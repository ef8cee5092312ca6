"""The option table, its three sources, and what is said about wrong options."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rplx.errors import ConfigError
from rplx.options import reading
from rplx.options.checks import origin, parse_address
from rplx.options.reading import load
from rplx.options.table import OPTIONS, SECTIONS, Config, changed, replace
from rplx.options.toml_lines import key_lines
from rplx.options.writing import render_example, render_reference, to_toml

ROOT = Path(__file__).parents[2]


@pytest.fixture
def toml(tmp_path: Path):
    def write(text: str) -> str:
        path = tmp_path / "rplx.toml"
        path.write_text(text)
        return str(path)

    return write


def problems(path: str | None = None, environ: dict[str, str] | None = None, *overrides: tuple[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {}, list(overrides))
    return caught.value.problems


# The table itself


def test_nothing_given_is_the_defaults() -> None:
    assert load(None, {}, []) == Config()


@pytest.mark.parametrize("row", OPTIONS.values(), ids=OPTIONS)
def test_every_default_is_valid_and_every_option_is_described(row) -> None:
    assert reading.checked(row, row.default) == row.default
    assert row.help


def test_two_options_never_share_a_variable_or_an_old_key() -> None:
    assert len({row.variable for row in OPTIONS.values()}) == len(OPTIONS)
    old_keys = [row.legacy for row in OPTIONS.values() if row.legacy]
    assert len(set(old_keys)) == len(old_keys)


@pytest.mark.parametrize(
    ("file", "text"),
    [("conf/rplx.toml", render_example()), ("docs/configuration.md", render_reference())],
)
def test_shipped_files_are_what_the_table_says(file: str, text: str) -> None:
    assert (ROOT / file).read_text() == text, "run: python -m rplx.options.reading"


def test_the_command_rewrites_both_files(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "rplx.options.writing", tmp_path], cwd=ROOT, check=True)
    for file in ("conf/rplx.toml", "docs/configuration.md"):
        assert (tmp_path / file).read_bytes() == (ROOT / file).read_bytes()


def test_the_example_as_shipped_changes_nothing_and_has_every_option_with_its_default() -> None:
    example = (ROOT / "conf/rplx.toml").read_text()
    assert load(str(ROOT / "conf/rplx.toml"), {}, []) == Config()
    uncommented = re.sub(r"^#(?=[a-z_]+ = )", "", example, flags=re.MULTILINE)
    values = tomllib.loads(uncommented)
    assert {f"{section}.{name}" for section in values for name in values[section]} == set(OPTIONS)
    for name, row in OPTIONS.items():
        assert reading.checked(row, values[row.section][row.name]) == row.default, name


def test_reading_the_configuration_needs_no_gevent() -> None:
    script = (
        "import sys, rplx.options.reading, rplx.cli.old_command, rplx.access.users; sys.exit('gevent' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


# Sources


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
        "RPLX_SERVICE_HOST": "10.0.0.1",
        "RPLX_SERVICE_PORT_HTTP": "80",
        "RPLX_PORT": "tcp://10.0.0.1:80",
        "RPLX_PORT_8088_TCP_ADDR": "10.0.0.1",
        "RPLX_WEB_SERVICE_PORT": "80",
        "RPLX_WEB_PORT_80_TCP": "tcp://10.0.0.1:80",
    }
    assert load(None, environ, []) == Config()


# Wrong options


def test_all_wrong_options_of_all_sources_are_named_at_once(toml) -> None:
    path = toml(
        "# comment\n[wait]\ntimeout = -1\nmaxlne = 5\nlisten = [\n  'a',\n]\n\n[wiat]\ntimeout = 1\n"
        "[in]\nlisten = ['[::1]:65536']\ncheck_json = 1\n[log]\nverbosity = 4\n"
    )
    found = problems(
        path,
        {"RPLX_WAIT_TIMEOUT": "long", "RPLX_WAIT_TIMEOT": "1"},
        ("wait.maxlen", "0"),
        ("nothing.here", "1"),
        ("timeout", "1"),
    )
    assert found == [
        f"{path}:3: wait.timeout: must be at least 0, is -1",
        f'{path}:4: unknown option wait.maxlne, did you mean "maxlen"?',
        f'{path}:5: wait.listen: "a" is not HOST:PORT',
        f'{path}:9: unknown section [wiat], did you mean "wait"?',
        f'{path}:12: in.listen: "[::1]:65536": the port must be a number from 0 to 65535',
        f"{path}:13: in.check_json: must be true or false, is 1",
        f"{path}:15: log.verbosity: must be at most 3, is 4",
        'RPLX_WAIT_TIMEOT: no option is set by this variable, did you mean "RPLX_WAIT_TIMEOUT"?',
        'RPLX_WAIT_TIMEOUT: must be a number, is "long"',
        "--set wait.maxlen: must be at least 1, is 0",
        '--set nothing.here: unknown section "nothing"',
        '--set timeout=1: must be section.name=value, did you mean "wait.timeout" or "in.timeout"?',
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("wait.timeout = true", "1: wait.timeout: must be a number, is true"),
        ("wait.timeout = '5'", '1: wait.timeout: must be a number, is "5"'),
        ("wait.timeout = nan", "1: wait.timeout: must be a finite number, is nan"),
        ("wait.timeout = inf", "1: wait.timeout: must be a finite number, is inf"),
        ("wait.maxlen = 1.5", "1: wait.maxlen: must be a whole number, is 1.5"),
        ("wait.maxlen = true", "1: wait.maxlen: must be a whole number, is true"),
        ("wait.charset = 5", "1: wait.charset: must be a string, is 5"),
        (r'wait.charset = "a\r\nX: y"', '1: wait.charset: "a\r\nX: y" is not the name of a charset, such as "utf-8"'),
        ("wait.listen = 8088", "1: wait.listen: must be a list of strings, is 8088"),
        ("wait.listen = [8088]", "1: wait.listen: must be a list of strings, is [8088]"),
        ("wait.listen = []", "1: wait.listen: must not be empty"),
        ("wait = 5", "1: wait is a section and is written [wait]"),
        ("[[wait]]", "1: wait is a section and is written [wait]"),
        ("verbosity = 5", '1: "verbosity" stands outside a section, such as [wait], did you mean "log.verbosity"?'),
        ("[in]\nverbosity = 5", '2: unknown option in.verbosity, did you mean "log.verbosity"?'),
        ('[wait]\n"max.len" = 1', '2: unknown option wait.max.len, did you mean "maxlen"?'),
        ("wait.timeout.x = 5", "1: wait.timeout: must be a number, is {'x': 5}"),
        ("\nwait.tiemout.x = 5", '2: unknown option wait.tiemout, did you mean "timeout"?'),
        ("wait.maxlen = 0x" + "f" * 17, "1: wait.maxlen: must be a number of 64 bits"),
        ("wait.timeout = " + "9" * 400, "1: wait.timeout: must be a number of 64 bits"),
        ("wait = { timeout = 1,\tx = 2 }", "1: unknown option wait.x"),
        ("a = 1\na = 2", "2: Cannot overwrite a value"),
        ("[wait]\ntimeout 5", "2: Expected '=' after a key in a key/value pair"),
        ('[wait]\ncharset = """a\n\n', "4: Unterminated string"),
        (
            "engine.url = 'mysql://root:secret@db'",
            "1: engine.url: must be memory: or a URL such as redis://HOST:PORT/0",
        ),
        (
            "server.workers = 2",
            "1: server.workers: more than one process needs an engine.url that they share, not memory:;"
            " set it to redis://HOST:PORT/0",
        ),
        ("pages.script_id = 'IFRAME'", "1: pages.script_id: pages.iframe_id and pages.script_id must differ"),
        ("pages.iframe_id = 'a-b'", '1: pages.iframe_id: "a-b" is not a channel id: letters, digits and _'),
        ("hooks.check_visibility = 'os.system'", '1: hooks.check_visibility: "os.system" is not module:function'),
    ],
)
def test_one_wrong_line(toml, line: str, problem: str) -> None:
    path = toml(line)
    assert problems(path) == [f"{path}:{problem}"]


def test_what_python_cannot_take_is_a_problem_too(toml) -> None:
    path = toml("wait.timeout = " + "[" * 5000)
    assert problems(path) == [f"{path}: nested too deeply"]
    path = toml("wait.timeout = " + "9" * 5000)
    assert problems(path)[0].startswith(f"{path}: Exceeds the limit")
    assert problems(None, {}, ("wait.timeout", "[" * 5000))[0].startswith("--set wait.timeout: must be a number")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.toml")
    assert problems(missing) == [f"{missing}: cannot read the configuration file: No such file or directory"]
    assert problems(str(tmp_path)) == [f"{tmp_path}: cannot read the configuration file: Is a directory"]
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"[wait]\n# \xe9\n")
    assert problems(str(latin)) == [f"{latin}:2: not UTF-8"]


def test_a_password_in_the_engine_url_is_not_shown() -> None:
    environ = {"RPLX_ENGINE_URL": "http://:hunter2@db"}
    assert "hunter2" not in "".join(problems(None, environ, ("engine.url", "http://:hunter2@db")))


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("0.0.0.0:8088", "0.0.0.0", 8088),
        ("[::1]:80", "::1", 80),
        ("[::]:0", "::", 0),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
        ("localhost:65535", "localhost", 65535),
        ("my_host.example.com:1", "my_host.example.com", 1),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert parse_address(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "8088", ":8088", "a:", "a:b", "a:-1", "a:65536", "a:1 ", "a b:1", "::1:80", "[::1]", "[::1:80"),
        *("[1.2.3.4]:1", "[x]:1", "1.2.3:4", "256.1.1.1:1", "a:٣", "a:²", "-a:1", "http://a:1"),
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f'"{text}"')):
        parse_address(text)


@pytest.mark.parametrize(
    "text",
    [
        *("*", "http://a", "https://a.example:8443", "http://[::1]:8080", "capacitor://localhost"),
        *("https://*.example.com", "http://*.a:8080", "https://xn--bcher-kva.example", "https://a:80"),
    ],
)
def test_origins(text: str) -> None:
    assert origin(text) == ""


@pytest.mark.parametrize(
    "text", ["", "a", "http://", "http://a/", "http://a b", "http://a:65536", "http://u@a", "null"]
)
def test_what_is_no_origin(text: str) -> None:
    assert "is not an origin" in origin(text)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("https://Example.com", "https://example.com"),
        ("HTTPS://example.com", "https://example.com"),
        ("https://a.test:443", "https://a.test"),
        ("http://a.test:080", "http://a.test"),
        ("https://*.Example.com:443", "https://*.example.com"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://[::0:1]", "http://[::1]"),
    ],
)
def test_origins_that_no_browser_sends(text: str, sent: str) -> None:
    assert origin(text) == f'"{text}" is never sent by a browser, which writes "{sent}"'
    assert origin(sent) == ""


@pytest.mark.parametrize(
    "text", ["https://a*.example.com", "https://*", "https://a.*.com", "https://*.*.com", "https://.a.com"]
)
def test_a_star_in_an_origin_stands_for_whole_names(text: str) -> None:
    assert 'as in "https://*.example.com"' in origin(text)


def test_a_byte_order_mark_before_a_file_is_skipped(tmp_path: Path) -> None:
    file = tmp_path / "rplx.toml"
    file.write_bytes(b"\xef\xbb\xbf[wait]\ntimeout = 7\n")
    assert load(str(file), {}, []).wait.timeout == 7


# Lines of keys


def test_lines_of_keys() -> None:
    text = (
        "a = 1 # [x]\n"  # 1
        'b.c = """\n'  # 2
        "[no]\n"
        'd = 1"""\n'
        "'q.r' = [ # comment with ' and ]\n"  # 5
        "  '[', { s = 1 },\n"
        "]\n"
        "\n"
        "  [ t . 'u' ] # header\r\n"  # 9
        "v = '''\n'x'\n'''\r\n"  # 10
        'w = "\\"]#"\n'  # 13
        "[[y]]\n"  # 14
        "z = 1979-05-27T07:32:00Z"  # 15
    )
    tomllib.loads(text)
    assert key_lines(text) == {
        ("a",): 1,
        ("b", "c"): 2,
        ("q.r",): 5,
        ("t", "u"): 9,
        ("t", "u", "v"): 10,
        ("t", "u", "w"): 13,
        ("y",): 14,
        ("y", "z"): 15,
    }


# Writing


VALUES = {
    bool: st.booleans(),
    int: st.integers(1, 3),
    float: st.floats(0.01, 1e300),
    str: st.text(st.characters(codec="utf-8")),
}


@given(st.data())
def test_what_is_written_is_read_again(data) -> None:
    free = {name: row for name, row in OPTIONS.items() if not row.check and name != "server.workers"}
    chosen = data.draw(st.lists(st.sampled_from(sorted(free)), unique=True))
    given_values = {name: data.draw(VALUES[type(free[name].default)]) for name in chosen}
    given_values["wait.listen"] = ("[::1]:0", "localhost:1")
    written = replace(Config(), given_values)
    for only_changed in (False, True):
        values = tomllib.loads(to_toml(written, only_changed))
        read = {
            f"{section}.{name}": reading.checked(OPTIONS[f"{section}.{name}"], value)
            for section, names in values.items()
            for name, value in names.items()
        }
        assert replace(Config(), read) == written


def test_only_what_changed_is_written() -> None:
    assert to_toml(Config(), only_changed=True) == ""
    changed_config = replace(Config(), {"wait.timeout": 5.0, "in.listen": ("[::1]:0",), "demo.enabled": True})
    assert to_toml(changed_config, only_changed=True) == (
        '[wait]\ntimeout = 5.0\n\n[in]\nlisten = ["[::1]:0"]\n\n[demo]\nenabled = true\n'
    )
    assert set(tomllib.loads(to_toml(Config(), only_changed=False))) == set(SECTIONS)


def test_changes_between_two_configurations() -> None:
    new = replace(Config(), {"wait.timeout": 5.0, "wait.listen": ("[::1]:0",), "demo.enabled": True})
    assert changed(Config(), Config()) == []
    assert changed(Config(), new) == [
        ("wait.listen", "WAIT_ADDR", ("0.0.0.0:8088",), ("[::1]:0",), True),
        ("wait.timeout", "WAIT_TIMEOUT", 300.0, 5.0, False),
        ("demo.enabled", "", False, True, True),
    ]
