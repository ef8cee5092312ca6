"""What is said about wrong options: all at once, each with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from rplx.errors import ConfigError
from rplx.options.reading import load


def problems(path: str | None = None, environ: dict[str, str] | None = None, *overrides: tuple[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {}, list(overrides))
    return caught.value.problems


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
            "1: engine.url: must be memory:, sqlite:///PATH or a URL such as redis://HOST:PORT/0",
        ),
        (
            "server.workers = 2",
            "1: server.workers: more than one process needs an engine.url that they share, not memory:;"
            " set it to redis://HOST:PORT/0",
        ),
        (
            "engine.url = 'sqlite:///h.db'\nserver.workers = 2",
            "2: server.workers: more than one process needs an engine.url that they share, not sqlite:;"
            " set it to redis://HOST:PORT/0",
        ),
        ("engine.sync = 'never'", '1: engine.sync: "never" is not always or process'),
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
