"""The lines that keys of a TOML file stand in, and configurations written as TOML."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from rplx.options.rows import OPTIONS, SECTIONS, replace
from rplx.options.table import Config
from rplx.options.toml_lines import key_lines
from rplx.options.values import checked
from rplx.options.writing import to_toml


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
            f"{section}.{name}": checked(OPTIONS[f"{section}.{name}"], value)
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
