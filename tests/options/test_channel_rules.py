"""[[channels]]: rules by prefix, and what is said of wrong ones."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from rplx.errors import ConfigError
from rplx.options.reading import load
from rplx.options.table import ChannelRule
from rplx.options.writing import to_toml

RULES = """\
[grants]
keys = { 2026a = "env:RPLX_GRANT_KEY", old = "file:/etc/rplx/old.key" }

[[channels]]
prefix = "user_"
access = "grant"

[[channels]]
prefix = "user_public_"
"""


def file_of(tmp_path: Path, text: str) -> str:
    path = tmp_path / "rplx.toml"
    path.write_text(text)
    return str(path)


def test_rules_and_keys_are_read_and_written(tmp_path: Path) -> None:
    config = load(file_of(tmp_path, RULES), {}, [])
    assert config.grants.keys == ("2026a=env:RPLX_GRANT_KEY", "old=file:/etc/rplx/old.key")
    assert config.channels == (ChannelRule("user_", "grant"), ChannelRule("user_public_", "public"))
    again = load(file_of(tmp_path, to_toml(config, only_changed=True)), {}, [])
    assert (again.channels, again.grants) == (config.channels, config.grants)
    assert tomllib.loads(to_toml(config, only_changed=False))["channels"][0]["access"] == "grant"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[channels]\nprefix = 'a'", "1: a rule is a section of its own and is written [[channels]]"),
        ("channels = 5", "1: a rule is a section of its own and is written [[channels]]"),
        ("[[channels]]\naccess = 'grant'", '1: a rule needs a prefix; "" stands for all channels'),
        (RULES + "acess = 'grant'", '10: channels.acess: there is no such option, did you mean "access"?'),
        (RULES + "access = 'nobody'", '10: channels.access: "nobody" is not public or grant'),
        ("[[channels]]\nprefix = 'a b'", '2: channels.prefix: "a b" is not the beginning of a channel id'),
        (RULES + "[[channels]]\nprefix = 'user_'", '10: a rule for "user_" stands at {path}:4; this one would never'),
        (f"[[channels]]\nprefix = '{'a' * 129}'", "1: no channel id is as long as"),
        (
            "[grants]\nkeys = ['a=0123456789abcdef0123456789abcdef']",
            "2: grants.keys: a key is written KID=env:VARIABLE",
        ),
        ("[grants]\nkeys = { a = 5 }", "2: grants.keys: must be a list of strings"),
    ],
)
def test_what_is_wrong_is_named_by_its_line(tmp_path: Path, text: str, problem: str) -> None:
    path = file_of(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(path, {}, [])
    (found,) = caught.value.problems
    assert found.startswith(f"{path}:{problem.format(path=path)}")
    assert "0123456789abcdef" not in found
