"""Reads the configuration: a TOML file, the environment and flags, in this order, the later one winning."""

from __future__ import annotations

import codecs
import dataclasses
import itertools
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rplx.errors import ConfigError
from rplx.options import channel_rules
from rplx.options.rows import OPTIONS, RULES, SECTIONS, VARIABLE_PREFIX, Option, options_of, replace
from rplx.options.table import Config
from rplx.options.toml_lines import key_lines
from rplx.options.values import checked, did_you_mean, from_text

# Variables that begin like ours and set no option: RPLX_CONFIG names the file, three are the client's, some hold keys
# of grants, and container orchestrators put the others into the environment of everything that runs beside a service
# called rplx.
_NO_OPTION = re.compile(
    r"RPLX_(CONFIG|IN|WAIT|PASSWORD|GRANT_KID|GRANT_KEY(_\w+)?)"
    r"|RPLX_(\w+_)?(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
_OF_ONE_PROCESS = ("memory:", "sqlite:")  # engine.url
_TOML_ERROR = re.compile(r"(?P<text>.*) \(at (line (?P<line>\d+), column \d+|end of document)\)", re.DOTALL)


@dataclass(frozen=True)
class _Setting:
    """One value that a source gives to one option; `where` begins the text of what is wrong with it."""

    where: str
    option: Option
    value: object


def load(
    path: str | None, environ: Mapping[str, str], overrides: list[tuple[str, str]], defaults: str | None = None
) -> Config:
    """Reads the configuration from a TOML file, RPLX_SECTION_NAME variables and `--set section.name=value` flags.

    `path` names the file (None: no file), `overrides` are the flags as pairs of option and text, and `defaults` names a
    TOML file that all others win over. Raises ConfigError that names everything wrong in all of them at once, each with
    `FILE:LINE:`, the variable's name or the flag.
    """
    problems: list[str] = []
    rules: list[channel_rules.Placed] = []
    # Generators, so that problems with names and with values stay in the order of their source.
    settings = itertools.chain(
        _from_file(defaults, problems, rules) if defaults is not None else (),
        _from_file(path, problems, rules) if path is not None else (),
        _from_environment(environ, problems),
        _from_overrides(overrides, problems),
    )
    return _applied(Config(), settings, problems, rules)


def from_environment(config: Config, environ: Mapping[str, str]) -> Config:
    """Returns `config` with what RPLX_SECTION_NAME variables set. Raises ConfigError that names all the wrong ones."""
    problems: list[str] = []
    return _applied(config, _from_environment(environ, problems), problems)


def _applied(
    config: Config, settings: Iterable[_Setting], problems: list[str], rules: list[channel_rules.Placed] | None = None
) -> Config:
    """Returns `config` with `settings`, later ones winning, and the `rules` that reading those finds.

    Raises ConfigError if there are or have been `problems`.
    """
    values: dict[str, Any] = {}
    where: dict[str, str] = {}
    for setting in settings:
        name = setting.option.full_name
        try:
            values[name] = checked(setting.option, setting.value)
            where[name] = setting.where
        except ValueError as error:
            problems.append(f"{setting.where}: {error}")
    config = replace(config, values)
    if rules:
        config = dataclasses.replace(config, channels=tuple(placed.rule for placed in rules))
        problems += channel_rules.contradictions(rules, config.wait.id_max)
    if values and not problems:
        problems += _contradictions(config, where)
    if problems:
        raise ConfigError(problems)
    return config


def _contradictions(config: Config, where: Mapping[str, str]) -> Iterator[str]:
    """Yields what is wrong with options together, although each alone is right.

    `where` has the places of the options that were set now; others are named by their variables.
    """

    def place(*names: str) -> str:
        return next((where[name] for name in names if name in where), OPTIONS[names[0]].variable)

    if config.server.workers > 1 and config.engine.url.startswith(_OF_ONE_PROCESS):
        kind = config.engine.url.partition(":")[0]
        yield (
            f"{place('server.workers')}: more than one process needs an engine.url that they share, not {kind}:;"
            " set it to redis://HOST:PORT/0"
        )
    if config.pages.iframe_id == config.pages.script_id:
        yield f"{place('pages.script_id', 'pages.iframe_id')}: pages.iframe_id and pages.script_id must differ"


def _from_file(path: str, problems: list[str], rules: list[channel_rules.Placed]) -> Iterator[_Setting]:
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
        if section == RULES:
            rules[:] = channel_rules.read(path, names, lambda *keys: _line_of(lines, *keys), problems)
        elif not isinstance(names, dict):
            problems.append(f"{where}: {_outside_section(section)}")
        elif section not in SECTIONS:
            problems.append(f"{where}: unknown section [{section}]{did_you_mean(section, SECTIONS)}")
        else:
            for name, value in names.items():
                yield from _known(f"{path}:{_line_of(lines, section, name)}", section, name, value, problems)


def _outside_section(name: str) -> str:
    if name in SECTIONS:
        return f"{name} is a section and is written [{name}]"
    return f'"{name}" stands outside a section, such as [wait]{_suggest_section_of(name)}'


def _line_of(lines: Mapping[tuple[str, ...], int], *path: str) -> int:
    """Returns the line of a key or a table.

    A table without a line of its own begins with the first key in it; what is inline has the line of its table.
    """
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
        if not variable.startswith(VARIABLE_PREFIX) or _NO_OPTION.fullmatch(variable):
            continue
        option = _VARIABLES.get(variable)
        if option is None:
            problems.append(f"{variable}: no option is set by this variable{did_you_mean(variable, _VARIABLES)}")
        else:
            yield _Setting(variable, option, from_text(option, text))


def _from_overrides(overrides: Iterable[tuple[str, str]], problems: list[str]) -> Iterator[_Setting]:
    for full_name, text in overrides:
        where = f"--set {full_name}"
        section, dot, name = full_name.partition(".")
        if not dot:
            problems.append(f"{where}={text}: must be section.name=value{_suggest_section_of(full_name)}")
        elif section not in SECTIONS:
            problems.append(f'{where}: unknown section "{section}"{did_you_mean(section, SECTIONS)}')
        else:
            for setting in _known(where, section, name, text, problems):
                yield _Setting(where, setting.option, from_text(setting.option, text))


def _known(where: str, section: str, name: str, value: object, problems: list[str]) -> Iterator[_Setting]:
    option = OPTIONS.get(f"{section}.{name}")
    if option is not None:
        yield _Setting(f"{where}: {option.full_name}", option, value)
        return
    names = [option.name for option in options_of(section)]
    hint = did_you_mean(name, names) or _suggest_section_of(name)
    problems.append(f"{where}: unknown option {section}.{name}{hint}")


_VARIABLES = {option.variable: option for option in OPTIONS.values()}


def _suggest_section_of(name: str) -> str:
    """Returns a hint at the options of this name, for one that stands in no section or in the wrong one."""
    found = [option.full_name for option in OPTIONS.values() if option.name == name]
    quoted = [f'"{full_name}"' for full_name in found]
    return f", did you mean {' or '.join(quoted)}?" if found else ""
