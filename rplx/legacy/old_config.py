"""Reads old configuration files into a Config, and migrates them to TOML (protocol page, part 5)."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from rplx.errors import ConfigError
from rplx.legacy.keys import (
    FILE_KEYS,
    HOOK_KEY,
    HOOK_PROBLEM,
    OLD_CONFIG,
    UNUSED_KEYS,
    old_defaults,
    option_of,
    option_value,
)
from rplx.legacy.perl.config import Assignment, parse
from rplx.options.reading import from_environment
from rplx.options.rows import OPTIONS, replace
from rplx.options.table import Config
from rplx.options.writing import to_toml

TITLE = "dklab_realplexor"

ConfigLoader = Callable[[], tuple[Config, list[str]]]


def read_old_config(path: str) -> tuple[dict[str, object], list[str]]:
    """Returns the values of an old configuration file by key, as our options have them, and warnings.

    A key is an old KEY or the full name of an option of ours. Names of files count from the folder of the file that is
    read. An unknown key is a warning, since sites keep keys of their own there. Raises ConfigError that names all that
    cannot be read or has a wrong value, each with `FILE:LINE:`, and FileNotFoundError if there is no such file.
    """
    try:
        text = Path(path).read_bytes().removeprefix(codecs.BOM_UTF8).decode(errors="surrogateescape")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError([f"{path}: cannot read the configuration file: {error.strerror}"]) from None
    file = parse(text, path, old_defaults())
    values: dict[str, object] = {}
    warnings = []
    problems = list(file.problems)
    for assignment in file.assignments:
        if option_of(assignment.key) is not None:
            try:
                values[assignment.key] = _value(assignment, path)
            except ValueError as error:
                problems.append((assignment.problem[0] if assignment.problem else assignment.line, str(error)))
        elif not UNUSED_KEYS.fullmatch(assignment.key):
            warnings.append(f"{path}:{assignment.line}: unknown key {assignment.key}, ignored")
    if problems:
        raise ConfigError([f"{path}:{line}: {problem}" for line, problem in sorted(problems)])
    return values, warnings


def _value(assignment: Assignment, path: str) -> object:
    if assignment.problem is None:
        value = option_value(assignment.key, assignment.value)
        if assignment.key in FILE_KEYS and value:
            value = os.path.join(os.path.dirname(os.path.abspath(path)), str(value))
        return value
    if assignment.key == HOOK_KEY:
        raise ValueError(HOOK_PROBLEM)
    raise ValueError(f"{assignment.key}: {assignment.problem[1]}")


def to_config(
    values: Mapping[str, object], base: Config = OLD_CONFIG, environ: Mapping[str, str] | None = None
) -> Config:
    """Returns `base` with the values of keys set; unknown keys are ignored. ConfigError names all wrong ones.

    With a CHARSET other than UTF-8 messages are not JSON in the strict sense, so they are not checked, unless
    in.check_json says so.
    """
    options: dict[str, object] = {}
    problems = []
    for key, value in values.items():
        if (option := option_of(key)) is not None:
            try:
                options[option.full_name] = option_value(key, value)
            except ValueError as error:
                problems.append(str(error))
    if problems:
        raise ConfigError(problems)
    environ = environ or {}
    config = from_environment(replace(base, options), environ)
    is_set = "in.check_json" in options or OPTIONS["in.check_json"].variable in environ
    if not is_set and config.wait.charset.lower().replace("-", "") != "utf8":
        return replace(config, {"in.check_json": False})
    return config


def migrate_config(path: str) -> str:
    """Returns the TOML that makes `rplx serve` do what the old server did with the configuration file at `path`.

    Raises ConfigError if the file is missing or holds something that cannot be taken over.
    """
    try:
        values, warnings = read_old_config(path)
    except FileNotFoundError as error:
        raise ConfigError([f"{path}: cannot read the configuration file: {error.strerror}"]) from None
    if problems := [f"{path}: {key}: is not UTF-8, as TOML has to be" for key in values if _is_not_utf_8(values[key])]:
        raise ConfigError(problems)
    head = [f"# Made from {_in_comment(path)}. What is not set here has its default."]
    head += [f"# Not taken over: {_in_comment(warning)}" for warning in warnings]
    return "\n".join(head) + "\n\n" + to_toml(to_config(values), only_changed=True)


def _is_not_utf_8(value: object) -> bool:
    """Returns whether a text, or one of a list, holds bytes that are not UTF-8, as names of files may."""
    texts = value if isinstance(value, (list, tuple)) else (value,)
    return any(isinstance(text, str) and text != text.encode(errors="replace").decode() for text in texts)


def _in_comment(text: str) -> str:
    """Returns `text` as a comment of TOML may hold it: without line ends and controls, which a key may have."""
    return "".join([sign if sign.isprintable() else repr(sign)[1:-1] for sign in text])


def config_loader(path: str | None) -> ConfigLoader:
    """Returns a function that reads the file at `path` (None: no file) anew, and returns the Config and lines to log.

    That raises ConfigError, but takes a missing file for an empty one, as the old server did. RPLX_SECTION_NAME
    variables win over the file.
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
