"""Reads the configuration: a TOML file, the environment and flags, in this order, the later one winning."""

from __future__ import annotations

import codecs
import difflib
import itertools
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rplx.errors import ConfigError
from rplx.options.table import (
    OPTIONS,
    SECTIONS,
    Config,
    Option,
    replace,
)
from rplx.options.toml_lines import key_lines

ENVIRONMENT_PREFIX = "RPLX_"
# RPLX_CONFIG names the file for those who start us without flags, three are the client's. The others are what container
# orchestrators put into the environment of everything that runs beside a service called rplx.
_FOREIGN_VARIABLE = re.compile(
    r"RPLX_(CONFIG|IN|WAIT|PASSWORD)"
    r"|RPLX_(\w+_)?(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
_TOML_ERROR = re.compile(r"(?P<text>.*) \(at (line (?P<line>\d+), column \d+|end of document)\)", re.DOTALL)
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True)
class _Setting:
    """One value that a source gives to one option; `where` begins the text of what is wrong with it."""

    where: str
    option: Option
    value: object


def load(
    path: str | None, environ: Mapping[str, str], overrides: list[tuple[str, str]], defaults: str | None = None
) -> Config:
    """The configuration from a TOML file (None: no file), RPLX_SECTION_NAME variables and `--set section.name=value`.

    `overrides` are pairs of option and text, `defaults` is a TOML file that all others win over. Raises ConfigError
    that names everything wrong in all of them at once, each with `FILE:LINE:`, the variable's name or the flag.
    """
    problems: list[str] = []
    # Generators, so that problems with names and with values stay in the order of their source.
    settings = itertools.chain(
        _from_file(defaults, problems) if defaults is not None else (),
        _from_file(path, problems) if path is not None else (),
        _from_environment(environ, problems),
        _from_overrides(overrides, problems),
    )
    values: dict[str, Any] = {}
    where: dict[str, str] = {}
    for setting in settings:
        name = setting.option.full_name
        try:
            values[name] = checked(setting.option, setting.value)
            where[name] = setting.where
        except ValueError as error:
            problems.append(f"{setting.where}: {error}")
    config = replace(Config(), values)
    problems = problems or list(_contradictions(config, where))
    if problems:
        raise ConfigError(problems)
    return config


def from_environment(config: Config, environ: Mapping[str, str]) -> Config:
    """`config` with what RPLX_SECTION_NAME variables set. ConfigError names all the wrong ones."""
    problems: list[str] = []
    values: dict[str, Any] = {}
    for setting in _from_environment(environ, problems):
        try:
            values[setting.option.full_name] = checked(setting.option, setting.value)
        except ValueError as error:
            problems.append(f"{setting.where}: {error}")
    config = replace(config, values)
    if values and not problems:
        problems = list(_contradictions(config, {name: option.variable for name, option in OPTIONS.items()}))
    if problems:
        raise ConfigError(problems)
    return config


def _contradictions(config: Config, where: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with options together, although each alone is right."""
    if config.server.workers > 1 and config.engine.url == "memory:":
        yield (
            f"{where['server.workers']}: more than one process needs an engine.url that they share, not memory:;"
            " set it to redis://HOST:PORT/0"
        )
    if config.pages.iframe_id == config.pages.script_id:
        place = where.get("pages.script_id") or where["pages.iframe_id"]
        yield f"{place}: pages.iframe_id and pages.script_id must differ"


def checked(option: Option, value: object) -> Any:
    """`value` as the option's type. ValueError with a one-line text if it has another type or is out of range."""
    kind = type(option.default)
    if kind is tuple:
        return _checked_list(option, value)
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, (int, float) if kind is float else kind):
        raise ValueError(f"must be {_KINDS[kind]}, is {_shown(value)}")
    if isinstance(value, str) and option.check is not None and (problem := option.check(value)):
        raise ValueError(problem)
    if not isinstance(value, str) and kind is not bool:
        assert isinstance(value, (int, float))
        _check_range(option, value)
    return kind(value)


def _checked_list(option: Option, value: object) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"must be {_KINDS[tuple]}, is {_shown(value)}")
    if not items and option.default:
        raise ValueError("must not be empty")
    if option.check is not None and (wrong := list(filter(None, map(option.check, items)))):
        raise ValueError("; ".join(wrong))
    return tuple(items)


def _check_range(option: Option, value: float) -> None:
    if isinstance(value, int) and value.bit_length() > 63:
        raise ValueError("must be a number of 64 bits")
    if not math.isfinite(value):
        raise ValueError(f"must be a finite number, is {value}")
    if value < option.at_least:
        raise ValueError(f"must be at least {option.at_least}, is {value}")
    if option.at_most is not None and value > option.at_most:
        raise ValueError(f"must be at most {option.at_most}, is {value}")


_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    tuple: "a list of strings",
}


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _from_file(path: str, problems: list[str]) -> Iterator[_Setting]:
    try:
        text = Path(path).read_bytes().removeprefix(codecs.BOM_UTF8).decode()
    except OSError as error:
        problems.append(f"{path}: cannot read the configuration file: {error.strerror}")
        return
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        problems.append(f"{path}:{line}: not UTF-8")
        return
    try:
        sections = tomllib.loads(text)
    except RecursionError:
        problems.append(f"{path}: nested too deeply")
        return
    except ValueError as error:  # a TOMLDecodeError, or a number of more digits than Python converts
        problems.append(_syntax_problem(path, text, str(error)))
        return
    lines = key_lines(text)
    for section, names in sections.items():
        where = f"{path}:{_line_of(lines, section)}"
        if not isinstance(names, dict):
            problems.append(f"{where}: {_outside_section(section)}")
        elif section not in SECTIONS:
            problems.append(f"{where}: unknown section [{section}]{_did_you_mean(section, SECTIONS)}")
        else:
            for name, value in names.items():
                yield from _known(f"{path}:{_line_of(lines, section, name)}", section, name, value, problems)


def _outside_section(name: str) -> str:
    if name in SECTIONS:
        return f"{name} is a section and is written [{name}]"
    return f'"{name}" stands outside a section, such as [wait]{_suggest_section_of(name)}'


def _line_of(lines: Mapping[tuple[str, ...], int], *path: str) -> int:
    """Where a key or a table stands: one without a line of its own begins with the first key in it, or is inline."""
    if path in lines:
        return lines[path]
    inside = [line for known, line in lines.items() if known[: len(path)] == path]
    return min(inside) if inside else _line_of(lines, *path[:-1])


def _syntax_problem(path: str, text: str, error: str) -> str:
    match = _TOML_ERROR.fullmatch(error)
    if match is None:
        return f"{path}: {error}"
    line = match["line"] or text.count("\n") + 1
    return f"{path}:{line}: {match['text']}"


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> Iterator[_Setting]:
    for variable, text in sorted(environ.items()):
        if not variable.startswith(ENVIRONMENT_PREFIX) or _FOREIGN_VARIABLE.fullmatch(variable):
            continue
        option = _VARIABLES.get(variable)
        if option is None:
            problems.append(f"{variable}: no option is set by this variable{_did_you_mean(variable, _VARIABLES)}")
        else:
            yield _Setting(variable, option, _from_text(option, text))


def _from_overrides(overrides: Iterable[tuple[str, str]], problems: list[str]) -> Iterator[_Setting]:
    for full_name, text in overrides:
        where = f"--set {full_name}"
        section, dot, name = full_name.partition(".")
        if not dot:
            problems.append(f"{where}={text}: must be section.name=value{_suggest_section_of(full_name)}")
        elif section not in SECTIONS:
            problems.append(f'{where}: unknown section "{section}"{_did_you_mean(section, SECTIONS)}')
        else:
            for setting in _known(where, section, name, text, problems):
                yield _Setting(where, setting.option, _from_text(setting.option, text))


def _known(where: str, section: str, name: str, value: object, problems: list[str]) -> Iterator[_Setting]:
    option = OPTIONS.get(f"{section}.{name}")
    if option is not None:
        yield _Setting(f"{where}: {option.full_name}", option, value)
        return
    names = [option.name for option in OPTIONS.values() if option.section == section]
    hint = _did_you_mean(name, names) or _suggest_section_of(name)
    problems.append(f"{where}: unknown option {section}.{name}{hint}")


_VARIABLES = {option.variable: option for option in OPTIONS.values()}


def _from_text(option: Option, text: str) -> object:
    """What a flag's or variable's text means for this option: a TOML value where it is one, else the bare text."""
    kind = type(option.default)
    if kind is bool:
        return _WORDS.get(text.strip().lower(), text)
    if kind is str and not (len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return [item.strip() for item in text.split(",") if item.strip()] if kind is tuple else text


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f', did you mean "{close[0]}"?' if close else ""


def _suggest_section_of(name: str) -> str:
    """Where an option of this name is, for one that stands in no section or in the wrong one."""
    found = [option.full_name for option in OPTIONS.values() if option.name == name]
    quoted = [f'"{full_name}"' for full_name in found]
    return f", did you mean {' or '.join(quoted)}?" if found else ""
