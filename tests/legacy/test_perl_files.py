"""What is read of an old Perl configuration file, and what is said of what is not."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rplx.errors import ConfigError
from rplx.legacy import old_config
from rplx.legacy.keys import HOOK_PROBLEM
from rplx.legacy.perl.config import parse
from tests.legacy.old_files import FIXTURES, OLD, OLD_VALUES

KNOWN = "known are numbers, strings, variables, undef, lists [ ... ], + - * / . and dirname(abs_path(__FILE__))"


def test_a_file_with_every_form() -> None:
    values, warnings = old_config.read_old_config(OLD)
    assert values == OLD_VALUES
    assert warnings == [f"{OLD}:43: unknown key SITE_KEY, ignored"]


def test_everything_that_cannot_be_read_is_named_at_once() -> None:
    path = str(FIXTURES / "broken.conf")
    with pytest.raises(ConfigError) as caught:
        old_config.read_old_config(path)
    known = "known are numbers, strings, variables, undef, lists [ ... ], + - * / . and dirname(abs_path(__FILE__))"
    assert [problem.removeprefix(path) for problem in caught.value.problems] == [
        ':3: WAIT_ADDR: "c" is not HOST:PORT',
        ':4: WAIT_TIMEOUT: must be a number, is "soon"',
        ":5: HOOK_CHECK_VISIBILITY is Perl code, which is not run here: write the hook as a Python function "
        "and name it in the option hooks.check_visibility",
        ':9: IN_ADDR: "127.0.0.1:99999": the port must be a number from 0 to 65535; "10010" is not HOST:PORT',
        r":10: USERS_FILE: cannot read the variable $HOME in a string; write \$ for the sign itself",
        ":11: IN_MAXLEN: must be at least 1, is -1",
        ":12: expected a KEY, found $variable",
        f":13: CHARSET: cannot read ` as a value: {known}",
        ":14: expected , or ) behind the value of IN_TIMEOUT, found 30",
        ":17: cannot read foreach: known are %CONFIG = (...), $CONFIG{KEY} = value, push and if",
        ":18: MAX_MEM_MB: * needs numbers on both sides",
        ":19: cannot read require: known are %CONFIG = (...), $CONFIG{KEY} = value, push and if",
        f":20: IFRAME_ID: cannot read a string that ' opens and nothing closes as a value: {known}",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "%CONFIG = ( WAIT_TIMEOUT => 1",
            ":1: expected , or ) behind the value of WAIT_TIMEOUT, found the end of the file",
        ),
        ("%CONFIG = ( WAIT_TIMEOUT => 1;\n1;", ":1: expected , or ) behind the value of WAIT_TIMEOUT, found ;"),
        ("%CONFIG = ( WAIT_TIMEOUT )", ":1: expected => behind WAIT_TIMEOUT, found )"),
        ("%CONFIG = ( 5 => 1 );", ":1: expected a KEY, found 5"),
        ("%CONFIG = [ A => 1 ];", ":1: expected (, found ["),
        ("%CONFIG\n(", ":2: expected =, found ("),
        ("$CONFIG = 5;", ":1: expected {, found ="),
        ("$CONFIG{WAIT_TIMEOUT} = 5 5;", ":1: expected ;, found 5"),
        ("$CONFIG{WAIT_TIMEOUT} x= 5;", ":1: expected =, found x"),
        ("$CONFIG{WAIT_TIMEOUT} = 1 / 0;", ":1: WAIT_TIMEOUT: division by zero"),
        ("$CONFIG{WAIT_TIMEOUT} = 5 % 3;", ":1: expected ;, found %"),
        ("$CONFIG{WAIT_TIMEOUT} = 089;", ":1: WAIT_TIMEOUT: cannot read the number 089"),
        ("$CONFIG{WAIT_ADDR} = ['a' 'b'];", ":1: WAIT_ADDR: expected , or ] in the list, found 'b'"),
        ("$CONFIG{WAIT_TIMEOUT} = " + "(" * 5000, ":1: WAIT_TIMEOUT: nested too deeply"),
        ("$CONFIG{WAIT_TIMEOUT} = " + "-" * 5000 + "1;", ":1: WAIT_TIMEOUT: nested too deeply"),
        ("$CONFIG{WAIT_ADDR} = " + "[" * 5000 + ";", ":1: WAIT_ADDR: nested too deeply"),
        ('$CONFIG{USERS_FILE} = abs_path("a\\0b");', ":1: USERS_FILE: a path holds no NUL"),
        ("$CONFIG{WAIT_TIMEOUT} = " + "9" * 400 + ";", ":1: WAIT_TIMEOUT: must be a finite number, is inf"),
        ("$CONFIG{CHARSET} = [] . 'a';", ":1: CHARSET: . needs strings"),
        ('$CONFIG{CHARSET} = "\\x{110000}";', ":1: CHARSET: \\x{110000} is no character"),
        ('$CONFIG{CHARSET} = "\\q";', ":1: CHARSET: cannot read \\q in a string"),
        (
            '$CONFIG{CHARSET} = "a@b.c";',
            ":1: CHARSET: cannot read the variable @b in a string; write \\@ for the sign itself",
        ),
        ('$CONFIG{CHARSET} = "a\\nb";', ':1: CHARSET: "a\nb" is not the name of a charset, such as "utf-8"'),
        ("$CONFIG{CHARSET} = undef;", ':1: CHARSET: "" is not the name of a charset, such as "utf-8"'),
        ("$CONFIG{HOOK_CHECK_VISIBILITY} = \\&hook;", ":1: " + HOOK_PROBLEM),
        ("$CONFIG{HOOK_CHECK_VISIBILITY} = 'hook';", ":1: " + HOOK_PROBLEM),
        ("system('rm');", ":1: cannot read system: known are %CONFIG = (...), $CONFIG{KEY} = value, push and if"),
        (
            "for (1) { %CONFIG = (A => 1); }",
            ":1: cannot read for: known are %CONFIG = (...), $CONFIG{KEY} = value, push and if",
        ),
        ("$CONFIG{SU_USER} = $user;", ":1: SU_USER: cannot read the variable $user: nothing in this file sets it"),
        ("my $u = getpwuid(33); $CONFIG{SU_USER} = $u;", f":1: SU_USER: cannot read getpwuid as a value: {KNOWN}"),
        ("$CONFIG{IN_ADDR}[5000] = 1;", ":1: IN_ADDR: [5000] is no place in the list"),
        (
            "%CONFIG = (IN_ADDR => ('a:1', 'b:2'));",
            ":1: IN_ADDR: a list stands where one value is expected; write [ ... ]",
        ),
        ("if (getpwuid(0)) { $CONFIG{SU_USER} = 'x'; }", f":1: cannot read getpwuid as a value: {KNOWN}"),
        (
            "$CONFIG{CHARSET} = q(a;",
            f":1: CHARSET: cannot read a string that q( opens and nothing closes as a value: {KNOWN}",
        ),
    ],
)
def test_one_thing_that_cannot_be_read(conf, text: str, problem: str) -> None:
    path = conf(text)
    with pytest.raises(ConfigError) as caught:
        old_config.read_old_config(path)
    assert caught.value.problems == [path + problem]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("1_000", 1000),
        ("010", 8),
        ("0x1f", 31),
        ("0b11", 3),
        ("1.50", 1.5),
        (".5", 0.5),
        ("5e2", 500.0),
        ("-5", -5),
        ("- (2 - 3)", 1),
        ("1024 * 5", 5120),
        ("0xffffffffffffffff + 1", 2.0**64),  # as in Perl, which has no longer whole numbers
        ("9" * 400 + " * 1.5", math.inf),
        ("2 + 3 * 4 - 10 / 4", 11.5),
        ("'7' * 2", 14),
        ("undef", None),
        ("[]", []),
        ("[ 'a', [1], undef, ]", ["a", [1], None]),
        ("'a' . \"b\" . 5 . 1.50", "ab51.5"),
        (r"'it\'s \\ \n'", r"it's \ \n"),
        (r'"\t\x41\x{263a}\101\$a\@b\\\"\e"', '\tA☺A$a@b\\"\x1b'),
        ("'a\nb'", "a\nb"),
        ("'#' # comment", "#"),
        ("dirname('/a/b/')", "/a"),
        ("dirname '/a/b'", "/a"),
        ("dirname('a') . '/x'", "./x"),
        ("dirname('/a')", "/"),
        ("dirname(dirname(__FILE__))", "/etc"),
        ("File::Basename::dirname(Cwd::abs_path('/'))", "/"),
    ],
)
def test_values(text: str, value: object) -> None:
    read = parse(f"$CONFIG{{KEY}} = {text}\n;", "/etc/rpl/rpl.conf")
    assert read.problems == []
    assert [(a.key, a.value, a.problem) for a in read.assignments] == [("KEY", value, None)]


def test_abs_path_follows_links_as_in_perl(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a.conf").write_text("$CONFIG{USERS_FILE} = dirname(abs_path(__FILE__)) . '/users';")
    (tmp_path / "a.conf").symlink_to("real/a.conf")
    values, _ = old_config.read_old_config(str(tmp_path / "a.conf"))
    assert values == {"USERS_FILE": str((tmp_path / "real/users").resolve())}


def test_the_last_assignment_counts_and_a_hash_replaces_what_was_before(conf) -> None:
    path = conf("$CONFIG{SU_USER} = 'a'; $CONFIG{CHARSET} = 'koi8-r'; %CONFIG = (SU_USER => 'b', 'SU_USER', 'c');")
    assert old_config.read_old_config(path) == ({"SU_USER": "c"}, [])


def test_a_file_in_an_old_encoding_and_with_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "old.conf"
    path.write_bytes(
        "# Настройки\r\n%CONFIG = (\r\n  SU_USER => 'a', # Кто\r\n);\r\n__END__\r\nэто не код".encode("cp1251")
    )
    assert old_config.read_old_config(str(path)) == ({"SU_USER": "a"}, [])


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        old_config.read_old_config(str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="cannot read the configuration file: Is a directory"):
        old_config.read_old_config(str(tmp_path))
    with pytest.raises(ConfigError, match="none: cannot read the configuration file: No such file"):
        old_config.migrate_config(str(tmp_path / "none"))


@given(st.text(alphabet="%$CONFIG=(){}[];,.'\"\\#\n =>*-+/0aé_sub", max_size=60))
def test_no_text_breaks_the_parser(text: str) -> None:
    read = parse(text, "f")
    assert all(1 <= line <= text.count("\n") + 1 for line, _ in read.problems)


def test_a_file_adds_to_the_defaults(conf) -> None:
    path = conf(
        "push @{$CONFIG{WAIT_ADDR}}, '[::1]:8089'; $CONFIG{IN_ADDR}[0] = '127.0.0.1:1'; $CONFIG{WAIT_TIMEOUT} *= 2;"
    )
    assert old_config.read_old_config(path)[0] == {
        "WAIT_ADDR": ("0.0.0.0:8088", "[::1]:8089"),
        "IN_ADDR": ("127.0.0.1:1",),
        "WAIT_TIMEOUT": 600.0,
    }
    path = conf("%CONFIG = (%CONFIG, SU_USER => 'x');")
    assert old_config.read_old_config(path)[0] == {"SU_USER": "x"}, "what was not set in the file is not set by it"


def test_names_of_files_count_from_the_folder_of_the_configuration(conf, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(
        conf("%CONFIG = (USERS_FILE => 'users', IFRAME_FILE => '/a/b', SCRIPT_FILE => dirname(__FILE__) . '/s');")
    )
    monkeypatch.chdir(path.parent.parent)
    for name in (str(path), f"{path.parent.name}/{path.name}"):
        assert old_config.read_old_config(name)[0] == {
            "USERS_FILE": str(path.parent / "users"),
            "IFRAME_FILE": "/a/b",
            "SCRIPT_FILE": str(path.parent / "s"),
        }
    path.write_text("$CONFIG{USERS_FILE} = '';")
    assert old_config.read_old_config(str(path))[0] == {"USERS_FILE": ""}


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "old.conf"
    path.write_bytes(b"\xef\xbb\xbf%CONFIG = (SU_USER => 'a');\n")
    assert old_config.read_old_config(str(path)) == ({"SU_USER": "a"}, [])
