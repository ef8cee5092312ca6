"""What is read of a configuration file is what real Perl makes of the same text."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rplx.legacy.perl.config import parse, perl_text
from tests.legacy.old_files import OLD

PERL = shutil.which("perl")
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


# What people have in these files beyond values.
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
