"""Old Perl configuration files and the old command line."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import rplx
from rplx.cli import old_command
from rplx.errors import ConfigError
from rplx.legacy import old_config
from rplx.legacy.keys import HOOK_PROBLEM, KEYS, OLD_CONFIG, legacy_value
from rplx.legacy.perl.config import parse, perl_text
from rplx.options.reading import load
from rplx.options.table import OPTIONS, Config, replace

KNOWN = "known are numbers, strings, variables, undef, lists [ ... ], + - * / . and dirname(abs_path(__FILE__))"
FIXTURES = Path(__file__).parents[1] / "fixtures"
OLD = str(FIXTURES / "old.conf")
PERL = shutil.which("perl")

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


@pytest.fixture
def conf(tmp_path: Path):
    def write(text: str) -> str:
        path = tmp_path / "old.conf"
        path.write_text(text)
        return str(path)

    return write


# Reading


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


# What real Perl makes of the same text

ATOMS = st.one_of(
    st.integers(0, 10**9).map(str),
    st.decimals(0, 1000, places=2, allow_nan=False).map(str),
    st.text(st.characters(codec="ascii", min_codepoint=32, exclude_characters="'\\"), max_size=8).map("'{}'".format),
    st.sampled_from([r'"\t\x41\101\$\@\\\"q"', r"'\\\'\n'", '""', "1e3", "0x10", "017", "1_0"]),
)
STRINGS = st.lists(ATOMS, min_size=1, max_size=4).map(" . ".join)
NUMBERS = st.recursive(
    st.integers(1, 999).map(str) | st.sampled_from(["1.5", ".25", "2e1", "0b1"]),
    lambda inner: (
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda e: f"({e[0]} {e[1]} {e[2]})")
        | st.tuples(inner, st.sampled_from("+-*"), inner).map(" ".join)
    ),
    max_leaves=5,
)
PERL_PRINTS_CONFIG = """
use JSON::PP; our %CONFIG; my $file = shift; do $file or die $@ || $!;
my %text = map { my $v = $CONFIG{$_};
    ($_ => ref $v eq "ARRAY" ? [map "$_", @$v] : defined $v ? "$v" : undef) } keys %CONFIG;
print JSON::PP->new->latin1->encode(\\%text);
"""


def perl_reads(path: str) -> dict[str, object]:
    run = subprocess.run([PERL, "-e", PERL_PRINTS_CONFIG, path], capture_output=True, check=True)
    return json.loads(run.stdout.decode("latin-1"))


def as_perl_prints(value: object) -> object:
    if isinstance(value, list):
        return [as_perl_prints(item) for item in value]
    return None if value is None else perl_text(value)


@pytest.mark.skipif(PERL is None, reason="perl is not installed")
def test_perl_reads_the_fixture_the_same() -> None:
    by_perl = perl_reads(OLD)
    by_us = {a.key: a.value for a in parse(Path(OLD).read_text(), OLD).assignments}
    assert by_us.keys() == by_perl.keys()
    del by_us["SITE_KEY"], by_perl["SITE_KEY"]
    assert {key: as_perl_prints(value) for key, value in by_us.items()} == by_perl


@pytest.mark.skipif(PERL is None, reason="perl is not installed")
@given(
    st.lists(
        STRINGS | NUMBERS | st.lists(STRINGS, max_size=3).map(lambda items: f"[ {', '.join(items)} ]"), max_size=20
    )
)
def test_perl_reads_what_we_read(tmp_path_factory: pytest.TempPathFactory, expressions: list[str]) -> None:
    text = "%CONFIG = (\n" + "".join(f"  K{i} => {e},\n" for i, e in enumerate(expressions)) + ");\n1;\n"
    path = tmp_path_factory.getbasetemp() / "generated.conf"
    path.write_text(text)
    read = parse(text, str(path))
    assert read.problems == []
    assume(not any(a.problem for a in read.assignments))  # a division by zero ends Perl
    assert {a.key: as_perl_prints(a.value) for a in read.assignments} == perl_reads(str(path))


# What people have in these files beyond values: each is read as real Perl reads it.

IDIOMS = [
    "our %CONFIG = (A => 1);",
    "our %CONFIG; $CONFIG{A} = 1;",
    "my $ip = '10.0.0.1'; %CONFIG = (IN_ADDR => [\"$ip:80\", \"${ip}:81\", $ip . ':82']);",
    "%CONFIG = (IN_ADDR => [qw(a:1 b:2)], WAIT_ADDR => [ qw/ c:3\n d:4 /, 'e:5' ]);",
    "%CONFIG = (IN_ADDR => ['a:1']); push @{$CONFIG{IN_ADDR}}, 'b:2', 'c:3';",
    "push @{$CONFIG{IN_ADDR}}, 'b:2'; unshift(@{ $CONFIG{IN_ADDR} }, 'a:1');",
    "%CONFIG = (A => 1, B => 2); %CONFIG = (%CONFIG, B => 3, C => 4);",
    "my %base = (A => 1, B => [2]); %CONFIG = (%base, C => 3);",
    "$CONFIG{A}[0] = 'x'; $CONFIG{A}[1] = 'y'; $CONFIG{B} = $CONFIG{A}[1]; $CONFIG{C} = $CONFIG{A}->[-2];",
    "@CONFIG{qw(A B)} = (1, 'two'); @CONFIG{'C', 'D'} = (3);",
    "$CONFIG{A} = $ENV{RPLX_TEST_SET} . '/x'; $CONFIG{B} = \"$ENV{RPLX_TEST_SET}/y\"; "
    "$CONFIG{C} = $ENV{RPLX_NONE} || 5;",
    "$CONFIG{A} = $ENV{RPLX_NONE} // q(none); $CONFIG{B} = q{a{b}c}; "
    "$CONFIG{C} = qq[x\\t$ENV{RPLX_TEST_SET}]; $CONFIG{D} = q(/);",
    "$CONFIG{A} = 1024 / 2; $CONFIG{B} = 7 / 2; my $m = 60; $CONFIG{C} = 5*$m; $CONFIG{D} = $m/3;",
    "if ($ENV{RPLX_TEST_SET} eq 'here') { $CONFIG{A} = 1; } else { $CONFIG{A} = 2; }",
    "if ($ENV{RPLX_NONE}) { $CONFIG{A} = 1; } elsif (1 > 2) { $CONFIG{A} = 2; "
    "} else { $CONFIG{A} = 3 } $CONFIG{B} = 4;",
    "$CONFIG{A} = 1; $CONFIG{A} = 2 if $ENV{RPLX_NONE}; $CONFIG{A} = 3 unless -e '/no/such'; $CONFIG{B} = 1 if -d '/';",
    "unless (defined $ENV{RPLX_NONE} and not 0) { $CONFIG{A} = 1; }",
    "my ($h, $p) = ('a', 80); $CONFIG{A} = \"$h:$p\"; $CONFIG{B} = $p == 80 ? 'yes' : 'no'; "
    "$CONFIG{A} .= '!'; $CONFIG{C} += 3;",
    "my @a = ('x', 'y'); push @a, 'z'; $CONFIG{A} = [@a]; $CONFIG{B} = \\@a; $CONFIG{C} = \"@a\"; $CONFIG{D} = $a[0];",
    "%CONFIG = (A => 1, B => 2,); delete $CONFIG{B}; $CONFIG{A} ||= 5; $CONFIG{Z} ||= 6; $CONFIG{Y} //= 7;",
    "sub f { return 1; } $CONFIG{A} = 1; return 1; $CONFIG{A} = 2;",
    "$CONFIG{A} = 'it' . q('s);",
    "my $c = {a => 1, b => [5, 6]}; $CONFIG{A} = $c->{b}[1]; $CONFIG{B} = $c->{a} + 1;",
    "$main::CONFIG{A} = 1; $::CONFIG{B} = 2;",
]


@pytest.mark.skipif(PERL is None, reason="perl is not installed")
@pytest.mark.parametrize("text", IDIOMS)
def test_idioms_mean_what_they_mean_in_perl(conf, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("RPLX_TEST_SET", "here")
    path = conf(text + "\n1;\n")
    read = parse(text + "\n1;\n", path)
    assert read.problems == []
    assert [a.problem for a in read.assignments if a.problem] == []
    by_perl = perl_reads(path)
    assert {a.key: as_perl_prints(a.value) for a in read.assignments} == by_perl
    assert by_perl


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
    "hooks.check_visibility": ("a:b", "'a:b'", "a:b"),
    "log.verbosity": ("2", "2", 2),
    "engine.url": ("redis://h/0", "'redis://h/0'", "redis://h/0"),
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


# Into a Config


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


# Migration


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
    assert "timeout" not in tomllib.loads(toml)["wait"], "defaults are not repeated"


# The command line


@pytest.mark.parametrize(
    ("argv", "config", "pidfile"),
    [
        ([], None, None),
        (["a.conf"], "a.conf", None),
        (["-p", "x.pid"], None, "x.pid"),
        (["-p", "x.pid", "a.conf"], "a.conf", "x.pid"),
        (["a.conf", "-p", "x.pid"], "a.conf", "x.pid"),
        (["a.conf", "-px.pid"], "a.conf", "x.pid"),
    ],
)
def test_command_line(argv: list[str], config: str | None, pidfile: str | None) -> None:
    assert old_command.parse_command_line(argv) == old_command.CommandLine(config, pidfile)


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    script = "import sys; from rplx.cli.old_command import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", script, *argv], capture_output=True, text=True, timeout=30)


def test_help_version_and_wrong_options() -> None:
    assert run("--version").stdout == f"dklab_realplexor (rplx {rplx.__version__})\n"
    assert run("--help").stdout.startswith("usage: dklab_realplexor [-h] [-p PIDFILE] [--version] [CONFIG]\n")
    for argv in (["-p"], ["-x"], ["a", "b"]):
        wrong = run(*argv)
        assert wrong.returncode == 2
        assert wrong.stderr.startswith("usage: dklab_realplexor ")


def test_a_wrong_configuration_ends_the_start() -> None:
    wrong = run(str(FIXTURES / "broken.conf"))
    assert wrong.returncode == 2
    assert len(wrong.stderr.splitlines()) == 13
    assert "Traceback" not in wrong.stderr


def test_the_loader_reads_the_file_anew(conf) -> None:
    path = conf("%CONFIG = (WAIT_TIMEOUT => 1, MINE => 2);")
    loader = old_config.config_loader(path)
    read, log = loader()
    assert read == replace(OLD_CONFIG, {"wait.timeout": 1.0, "server.title": "dklab_realplexor"})
    assert log == [f"CONFIG: appending configuration from {path}", f"CONFIG: {path}:1: unknown key MINE, ignored"]
    conf("%CONFIG = (WAIT_TIMEOUT => 2);")
    assert loader()[0].wait.timeout == 2
    Path(path).unlink()
    base = replace(OLD_CONFIG, {"server.title": "dklab_realplexor"})
    assert loader() == (base, [f"CONFIG: file {path} does not exist, skipping"])
    assert old_config.config_loader(None)() == (base, [])
