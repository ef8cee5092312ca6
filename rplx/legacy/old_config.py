"""The old command line `dklab_realplexor [-p PIDFILE] [CONFIG]` and its configuration files (protocol page, part 5)."""

from __future__ import annotations

import argparse
import codecs
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import rplx
from rplx.errors import ConfigError
from rplx.legacy.keys import (
    FILE_KEYS,
    HOOK_KEY,
    HOOK_PROBLEM,
    OLD_CONFIG,
    READ_BY_NOTHING,
    from_legacy,
    old_values,
    option_of,
)
from rplx.legacy.perl.config import Assignment, parse
from rplx.options.reading import from_environment
from rplx.options.table import OPTIONS, Config, replace
from rplx.options.writing import to_toml
from rplx.system import standard_streams

TITLE = "dklab_realplexor"

ConfigLoader = Callable[[], tuple[Config, list[str]]]


@dataclass(frozen=True)
class CommandLine:
    """What `dklab_realplexor` was started with; None for what was not given."""

    config: str | None
    pidfile: str | None


def read_old_config(path: str) -> tuple[dict[str, object], list[str]]:
    """The values of an old Perl configuration file by key, as our options have them, and warnings.

    A key is an old KEY or the full name of an option of ours. Names of files count from the folder of this one.
    An unknown key is a warning, since sites keep keys of their own there. Raises ConfigError that names all that
    cannot be read or has a wrong value, each with `FILE:LINE:`; FileNotFoundError if there is no such file.
    """
    try:
        text = Path(path).read_bytes().removeprefix(codecs.BOM_UTF8).decode(errors="surrogateescape")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError([f"{path}: cannot read the configuration file: {error.strerror}"]) from None
    file = parse(text, path, old_values())
    values: dict[str, object] = {}
    warnings = []
    problems = list(file.problems)
    for assignment in file.assignments:
        if option_of(assignment.key) is not None:
            try:
                values[assignment.key] = _value(assignment, path)
            except ValueError as error:
                problems.append((assignment.problem[0] if assignment.problem else assignment.line, str(error)))
        elif not READ_BY_NOTHING.fullmatch(assignment.key):
            warnings.append(f"{path}:{assignment.line}: unknown key {assignment.key}, ignored")
    if problems:
        raise ConfigError([f"{path}:{line}: {problem}" for line, problem in sorted(problems)])
    return values, warnings


def _value(assignment: Assignment, path: str) -> object:
    if assignment.problem is None:
        value = from_legacy(assignment.key, assignment.value)
        if assignment.key in FILE_KEYS and value:
            value = os.path.join(os.path.dirname(os.path.abspath(path)), str(value))
        return value
    if assignment.key == HOOK_KEY:
        raise ValueError(HOOK_PROBLEM)
    raise ValueError(f"{assignment.key}: {assignment.problem[1]}")


def to_config(
    values: Mapping[str, object], base: Config = OLD_CONFIG, environ: Mapping[str, str] | None = None
) -> Config:
    """`base` with the values of keys set, unknown keys left out. ConfigError names all the wrong ones.

    With a CHARSET other than UTF-8 messages are not JSON in the strict sense, so they are not checked, unless
    in.check_json says so.
    """
    options: dict[str, object] = {}
    problems = []
    for key, value in values.items():
        if (option := option_of(key)) is not None:
            try:
                options[option.full_name] = from_legacy(key, value)
            except ValueError as error:
                problems.append(str(error))
    if problems:
        raise ConfigError(problems)
    environ = environ or {}
    config = from_environment(replace(base, options), environ)
    is_said = "in.check_json" in options or OPTIONS["in.check_json"].variable in environ
    if not is_said and config.wait.charset.lower().replace("-", "") != "utf8":
        return replace(config, {"in.check_json": False})
    return config


def migrate_config(path: str) -> str:
    """The TOML file that makes `rplx serve` do what the old server did with the configuration file at `path`.

    Raises ConfigError if the file is missing or holds something that cannot be taken over.
    """
    try:
        values, warnings = read_old_config(path)
    except FileNotFoundError as error:
        raise ConfigError([f"{path}: cannot read the configuration file: {error.strerror}"]) from None
    if problems := [f"{path}: {key}: is not UTF-8, as TOML has to be" for key in values if _is_foreign(values[key])]:
        raise ConfigError(problems)
    head = [f"# Made from {_in_comment(path)}. What is not set here has its default."]
    head += [f"# Not taken over: {_in_comment(warning)}" for warning in warnings]
    return "\n".join(head) + "\n\n" + to_toml(to_config(values), only_changed=True)


def _is_foreign(value: object) -> bool:
    """Whether a text, or one of a list, holds bytes that are not UTF-8: the old server took names of files as bytes."""
    texts = value if isinstance(value, (list, tuple)) else (value,)
    return any(isinstance(text, str) and text != text.encode(errors="replace").decode() for text in texts)


def _in_comment(text: str) -> str:
    """A comment of TOML ends with its line and holds no controls; a key may hold both."""
    return "".join([sign if sign.isprintable() else repr(sign)[1:-1] for sign in text])


def config_loader(path: str | None) -> ConfigLoader:
    """A function that reads the file at `path` (None: there is none) anew and gives the Config and its log lines.

    It raises what `read_old_config` raises, but takes a missing file for an empty one, as the old server did. Variables
    RPLX_SECTION_NAME of the environment count before the file.
    """
    base = replace(OLD_CONFIG, {"server.title": TITLE})

    def load() -> tuple[Config, list[str]]:
        if path is None:
            return to_config({}, base, os.environ), []
        try:
            values, warnings = read_old_config(path)
        except FileNotFoundError:
            return to_config({}, base, os.environ), [f"CONFIG: file {path} does not exist, skipping"]
        log = [f"CONFIG: appending configuration from {path}", *(f"CONFIG: {warning}" for warning in warnings)]
        return to_config(values, base, os.environ), log

    return load


def parse_command_line(argv: list[str]) -> CommandLine:
    """The old command line, options in any order. Wrong ones, --help and --version end the process as argparse does."""
    parser = argparse.ArgumentParser(
        prog=TITLE,
        description="The Realplexor server with its old command line, configuration file and log. "
        "`rplx serve` is the same server with the new ones.",
        allow_abbrev=False,
    )
    parser.add_argument("-p", metavar="PIDFILE", dest="pidfile", help="write the process id into this file")
    parser.add_argument("config", metavar="CONFIG", nargs="?", help="old Perl configuration file")
    parser.add_argument("--version", action="version", version=f"{TITLE} (rplx {rplx.__version__})")
    options = parser.parse_args(argv)
    return CommandLine(options.config, options.pidfile)


def main(argv: list[str] | None = None) -> int:
    """Runs the server as the old command did. Gives the exit status: 2 if the configuration is wrong."""
    standard_streams.fill()
    command_line = parse_command_line(sys.argv[1:] if argv is None else argv)
    from rplx.serving.daemon import (
        run_legacy,  # brings gevent with it, which --help and a wrong command line need not wait for
    )

    try:
        return run_legacy(config_loader(command_line.config), command_line.pidfile)
    except ConfigError as error:
        standard_streams.complain(str(error))
        return error.exit_status
