"""`rplx history`: looks after what an engine has kept, beside servers or without them."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO

from rplx.cli.client import Failed, seconds
from rplx.errors import ConfigError, Refusal, UsageError

if TYPE_CHECKING:
    from rplx.engine.archive.records import Record, Totals

FILE_PREFIX = "sqlite:///"
EXPIRE_AFTER = 3600.0  # seconds, as history.expire_after by default
OPTION = "engine.url"  # what errors of an engine begin with


def configure(parser: argparse.ArgumentParser) -> None:
    """Gives `rplx history` its arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, help: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        description = f"{help[0].upper()}{help[1:]}."
        one = actions.add_parser(name, help=help, description=description, allow_abbrev=False)
        one.set_defaults(act=run)
        return one

    place = "a file of rplx (a path, or sqlite:///PATH), or a URL of Redis, as engine.url has it"
    check = action("check", "say what is in a file, and whether it is whole", _check)
    check.add_argument("file", metavar="FILE", help="the file, or sqlite:///PATH; a server may have it")
    check.add_argument("--json", action="store_true", help="print JSON")
    backup = action("backup", "copy a file, also one that a server has", _backup)
    backup.add_argument("file", metavar="FILE", help="the file, or sqlite:///PATH")
    backup.add_argument(
        "copy", metavar="COPY", help="where nothing is yet; a server that starts with it tells listeners of a gap"
    )
    dump = action("dump", "print what there is as lines of JSON", _dump)
    dump.add_argument("place", metavar="FILE|URL", help=f"{place}; servers may have it")
    dump.add_argument("--output", metavar="ARCHIVE", help="a new file for the lines (default: stdout)")
    load = action("load", "make a history of such lines", _load)
    load.add_argument("place", metavar="FILE|URL", help=f"{place}; nothing may be there yet")
    load.add_argument("--input", metavar="ARCHIVE", help="the lines (default: stdin)")
    load.add_argument(
        "--old",
        action="store_true",
        help="messages were sent after the dump, and are lost: listeners are told of a gap, as with a backup",
    )
    load.add_argument(
        "--expire-after",
        type=seconds,
        default=EXPIRE_AFTER,
        metavar="SECONDS",
        help=f"the servers' history.expire_after, which Redis has to know (default {EXPIRE_AFTER:g})",
    )


def run(args: argparse.Namespace) -> int:
    """Carries one action out. Returns the exit status. Raises UsageError, Failed."""
    status: int
    try:
        status = args.act(args)
    except ConfigError as error:
        raise Failed("\n".join(map(_without_option, error.problems))) from error
    except Refusal as error:
        raise Failed(error.text) from error
    return status


def _without_option(problem: str) -> str:
    if problem.startswith(f"{OPTION}: "):
        return problem.removeprefix(f"{OPTION}: ")
    return "the URL" + problem.removeprefix(OPTION) if problem.startswith(OPTION) else problem


def _file(text: str) -> str:
    """Returns the path of a file. Raises UsageError for a URL of something else."""
    if "://" in text and not text.startswith(FILE_PREFIX):
        raise UsageError(f"{text.partition('://')[0]}:// is no file: a path or sqlite:///PATH is asked for")
    return text.removeprefix(FILE_PREFIX)


def _is_redis(text: str) -> bool:
    return "://" in text and not text.startswith(FILE_PREFIX)


def _keys(url: str) -> ModuleType:
    """Returns the module for Redis. Raises ConfigError where its library is missing or this is no URL of it."""
    from rplx.engine.factory import check_engine
    from rplx.options.rows import replace
    from rplx.options.table import Config

    check_engine(replace(Config(), {"engine.url": url}))
    from rplx.engine.redis import keys

    return keys


def _records(place: str) -> Iterable[Record]:
    if _is_redis(place):
        keys = _keys(place)
        records: Iterable[Record] = keys.records(place)
        return records
    from rplx.engine.sqlite import file

    return file.records(_file(place))


# -- check


def _check(args: argparse.Namespace) -> int:
    from rplx.engine.sqlite import file, opening

    path = _file(args.file)
    if problems := file.problems(path):
        raise opening.damaged(path, "; ".join(problems))
    found = {
        "file": path,
        "bytes": _size(path),
        "wal_bytes": _size(path + "-wal"),
        **_counted(file.records(path)),
        "held_by": opening.holder(path) or None,
    }
    print(json.dumps(found) if args.json else _shown(found))
    return 0


def _counted(records: Iterable[Record]) -> dict[str, object]:
    """Returns how much there is of each kind; times are seconds since the epoch, None where there is nothing."""
    from rplx.engine.archive.records import ArchivedMessage, Totals
    from rplx.messages import Event

    totals = Totals()
    channels: set[str] = set()
    oldest = newest = position = None
    for record in records:
        totals.count(record)
        if isinstance(record, ArchivedMessage):
            channels.update(record.cursors.keys() - set(record.dropped))
            newest = record.drawn / 1_000_000
            oldest = newest if oldest is None else oldest
        elif isinstance(record, Event):
            position = record.position
    shown = {"channels": len(channels), "oldest": oldest, "newest": newest, "position": position}
    return {**dataclasses.asdict(totals), **shown}


def _size(path: str) -> int:
    with contextlib.suppress(OSError):
        return os.path.getsize(path)
    return 0


def _shown(found: dict[str, object]) -> str:
    held = f"held by process {found['held_by']}" if found["held_by"] else "no server has it"
    wal = f" and {found['wal_bytes']:,} in its -wal" if found["wal_bytes"] else ""
    lines = [f"{found['file']} is whole, {held}", f"{found['bytes']:,} bytes{wal}"]
    sent = f", sent from {_time(found['oldest'])} to {_time(found['newest'])}" if found["messages"] else ""
    lines.append(f"{found['messages']:,} messages in {found['channels']:,} channels{sent}")
    events = f" to position {found['position']}" if found["position"] else ""
    lines.append(f"{found['floors']:,} floors, {found['events']:,} events{events}, {found['online']:,} online")
    return "\n".join(lines)


def _time(at: object) -> str:
    assert isinstance(at, float)
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


# -- backup, dump, load


def _backup(args: argparse.Namespace) -> int:
    from rplx.engine.sqlite import file

    file.copy(_file(args.file), args.copy)
    return 0


def _dump(args: argparse.Namespace) -> int:
    from rplx.engine.archive import lines
    from rplx.engine.archive.records import WrongRecord

    try:
        with _output(args.output) as stream:
            for line in lines.written(_records(args.place)):
                stream.write(line)
    except WrongRecord as error:
        raise Failed(f"what is there, rplx has not written: {error}") from error
    return 0


@contextlib.contextmanager
def _output(path: str | None) -> Iterator[BinaryIO]:
    """Yields stdout, or a new file, which is removed if the block ends with an error. Raises Failed."""
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            try:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            except BaseException:
                os.unlink(path)
                raise
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from error


def _load(args: argparse.Namespace) -> int:
    from rplx.engine.archive import lines

    try:
        with open(args.input, "rb") if args.input else contextlib.nullcontext(sys.stdin.buffer) as stream:
            totals = _create(args, lines.read(stream))
    except lines.WrongLine as error:
        raise Failed(f"{args.input or 'stdin'}, {error}; nothing was loaded") from error
    except OSError as error:
        raise Failed(f"{args.input or 'stdin'}: {error.strerror}") from error
    print(f"loaded {totals.messages:,} messages, {totals.floors:,} floors, {totals.events:,} events")
    return 0


def _create(args: argparse.Namespace, records: Iterator[Record]) -> Totals:
    if _is_redis(args.place):
        keys = _keys(args.place)
        totals: Totals = keys.create(args.place, records, args.expire_after, is_old=args.old)
        return totals
    from rplx.engine.sqlite import file

    return file.create(_file(args.place), records, is_old=args.old)
