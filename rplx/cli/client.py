"""The subcommands of `rplx` that talk to a running server, all through the Python client."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rplx.errors import UsageError
from rplx.options.checks import parse_target

if TYPE_CHECKING:
    from rplx.client import Event, Message, Realplexor, Unreadable

IN_VARIABLE, WAIT_VARIABLE, PASSWORD_VARIABLE = "RPLX_IN", "RPLX_WAIT", "RPLX_PASSWORD"
CLIENT_VARIABLES = frozenset((IN_VARIABLE, WAIT_VARIABLE, PASSWORD_VARIABLE))
DEFAULT_IN = "127.0.0.1:10010"
DEFAULT_WAIT = "http://127.0.0.1:8088/"
TIMEOUT = 5.0  # seconds for one question to the server
UNREADABLE_SHOWN = 200  # bytes of a message that cannot be read, in the line that says so


class Failed(Exception):
    """The server refused, could not be reached, or answered what is no answer of the protocol."""


def configure_send(parser: argparse.ArgumentParser) -> None:
    """Gives `rplx send` its arguments."""
    _add_back_end_options(parser)
    parser.add_argument("--limit-to", metavar="ID[,ID...]", help="only for those who also listen to one of these")
    parser.add_argument("ids", metavar="ID[,ID...]", help="channels; CURSOR:ID gives the message a cursor of your own")
    parser.add_argument("data", metavar="JSON", nargs="?", default="-", help="the message; - or none: read from stdin")


def send(args: argparse.Namespace) -> int:
    """Sends a message and prints its receipt. Returns the exit status. Raises UsageError, Failed."""
    from rplx.client import NotStored

    ids = _items(args.ids)
    limit_to = list(_items(args.limit_to)) if args.limit_to is not None else None
    text = _message(args.data)
    with back_end(args) as client:
        try:
            receipt = client.send_json(ids, text, limit_to)
        except NotStored as error:
            _print_receipt(error.receipt, args.json)
            raise
        _print_receipt(receipt, args.json)
    return 0


def _message(argument: str) -> bytes:
    """Returns the message as JSON. Raises UsageError, which says how to quote a text that is no JSON."""
    from rplx.client import InvalidArgument
    from rplx.client.names import checked_json

    text = sys.stdin.buffer.read() if argument == "-" else os.fsencode(argument)
    try:
        return checked_json(text)
    except InvalidArgument as error:
        shown = text.decode("utf-8", "replace").strip()
        if argument == "-":
            raise UsageError(f"stdin is {error}") from error
        quoted = json.dumps(shown, ensure_ascii=False).replace("'", "'\\''")
        raise UsageError(f"the message is {error}; to send it as a text, quote it twice: '{quoted}'") from error


def _print_receipt(receipt: dict[str, str], as_json: bool) -> None:
    if as_json:
        _print_json(receipt)
    else:
        for id, cursor in receipt.items():
            print(id, cursor)


def configure_online(parser: argparse.ArgumentParser) -> None:
    """Gives `rplx online` its arguments."""
    _add_back_end_options(parser)
    parser.add_argument("prefixes", metavar="PREFIX", nargs="*", help="only ids that start with one of these")


def online(args: argparse.Namespace) -> int:
    """Prints who is online. Returns the exit status. Raises UsageError, Failed."""
    with back_end(args) as client:
        counts = client.online_with_counters(args.prefixes)
    if args.json:
        _print_json(counts)
    else:
        for id, count in counts.items():
            print(id, count)
    return 0


def configure_watch(parser: argparse.ArgumentParser) -> None:
    """Gives `rplx watch` its arguments."""
    _add_back_end_options(parser)
    parser.add_argument("--from", dest="position", metavar="POS", help="what happened after this position, too")
    parser.add_argument("--once", action="store_true", help="print what there is and end; without --from: the position")
    parser.add_argument(
        "--interval", type=seconds, default=1.0, metavar="SECONDS", help="between questions (default 1)"
    )
    parser.add_argument("prefixes", metavar="PREFIX", nargs="*", help="only ids that start with one of these")


def watch(args: argparse.Namespace) -> int:
    """Prints who comes and goes, until it is interrupted. Returns the exit status. Raises UsageError, Failed."""
    with back_end(args) as client:
        if args.once:
            for event in client.watch(args.position, args.prefixes):
                _print_event(event, args.json)
            return 0
        with contextlib.suppress(KeyboardInterrupt):
            for event in client.follow(args.position, args.prefixes, args.interval):
                _print_event(event, args.json)
    return 0


def _print_event(event: Event, as_json: bool) -> None:
    if as_json:
        _print_json(event._asdict())
    else:
        print(f"{event.event} {event.pos}:{event.id}", flush=True)


def configure_stats(parser: argparse.ArgumentParser) -> None:
    """Gives `rplx stats` its arguments."""
    _add_back_end_options(parser)


def stats(args: argparse.Namespace) -> int:
    """Prints the server's state. Returns the exit status. Raises UsageError, Failed."""
    with back_end(args) as client:
        if args.json:
            _print_json(client.stats())
        else:
            sys.stdout.write(client.stats_text())
    return 0


def configure_listen(parser: argparse.ArgumentParser) -> None:
    """Gives `rplx listen` its arguments."""
    parser.add_argument(
        "--wait",
        default=os.environ.get(WAIT_VARIABLE) or DEFAULT_WAIT,
        metavar="URL",
        help=f"the server's WAIT line, a URL, HOST:PORT or unix:/PATH (default {DEFAULT_WAIT} or ${WAIT_VARIABLE})",
    )
    parser.add_argument("--login", default="", help="listen to this login's channels")
    parser.add_argument("--count", type=_count, metavar="N", help="end after N messages")
    parser.add_argument(
        "--transport",
        choices=("auto", "stream", "poll"),
        default="auto",
        help="an event stream or polls; auto (default): a stream, or polls where that does not work",
    )
    _add_common_options(parser)
    parser.add_argument(
        "ids",
        metavar="ID[,ID...]",
        help="channels; CURSOR:ID goes on behind that message; the first must not be SCRIPT or IFRAME, which are pages",
    )


def listen(args: argparse.Namespace) -> int:
    """Prints messages as they come. Returns the exit status. Raises UsageError, Failed."""
    from rplx.client import Realplexor

    url = args.wait if "://" in args.wait or args.wait.startswith("unix:") else f"http://{args.wait}/"
    login = args.login.partition(":")[0]
    with contextlib.suppress(KeyboardInterrupt), _errors(f"--wait URL or {WAIT_VARIABLE}"):
        client = Realplexor(namespace=args.namespace, login=login, timeout=args.timeout)
        with client.listen(_items(args.ids), url, on_gap=_print_gap, transport=args.transport) as listener:
            for number, message in enumerate(listener, 1):
                _print_message(message, args.json)
                if number == args.count:
                    break
    return 0


def _print_message(message: Message, as_json: bool) -> None:
    """Prints a message as one line, or says on stderr why it cannot be read or printed."""
    from rplx.client import Unreadable

    items = ",".join(f"{cursor}:{id}" for id, cursor in message.ids.items())
    try:
        if isinstance(message.data, Unreadable):
            _print_unreadable(items, message, message.data, as_json)
        elif as_json:
            _print_json({"ids": message.ids, "data": message.data})
        else:
            print(items, _json(message.data), flush=True)
    except RecursionError:  # writing takes more of the stack than reading did
        _warn(f"the message at {items} is nested too deeply to be printed")


def _print_unreadable(items: str, message: Message, data: Unreadable, as_json: bool) -> None:
    """Says on stderr why a message cannot be read; with --json prints its text as a string instead.

    Without --json nothing goes to stdout, where each line holds a JSON value.
    """
    if as_json:
        raw = data.raw.decode("utf-8", "replace")
        _print_json({"ids": message.ids, "unreadable": data.reason, "raw": raw})
    else:
        shown = data.raw[:UNREADABLE_SHOWN].decode("utf-8", "replace")
        _warn(f"the message at {items} cannot be read: {data.reason}: {json.dumps(shown, ensure_ascii=False)}")


def _print_gap(ids: list[str]) -> None:
    _warn(f"messages may have been missed in {','.join(ids)}")


def _warn(text: str) -> None:
    print(f"rplx listen: {text}", file=sys.stderr, flush=True)


def _print_json(value: Any) -> None:
    print(_json(value), flush=True)


def _json(value: Any) -> str:
    """Returns `value` as JSON; what stdout's encoding has no bytes for, such as a lone surrogate, is escaped."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(value)
    return text


def _add_back_end_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--in",
        dest="address",
        default=os.environ.get(IN_VARIABLE) or DEFAULT_IN,
        metavar="HOST:PORT",
        help=f"the server's IN line, or unix:/PATH (default {DEFAULT_IN} or ${IN_VARIABLE})",
    )
    parser.add_argument("--tls", action="store_true", help="the IN line speaks TLS")
    parser.add_argument(
        "--login",
        metavar="LOGIN[:PASSWORD]",
        help=f"without the password ${PASSWORD_VARIABLE} is taken, or it is asked for; ids get LOGIN_ before them",
    )
    _add_common_options(parser)


def _add_common_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--namespace", metavar="TEXT", help="put before each id, and taken off what is printed")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=TIMEOUT,
        metavar="SECONDS",
        help=f"for the server's answer (default {TIMEOUT:g})",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, one value a line")


def seconds(text: str) -> float:
    """Returns the value of an option that is a time. Raises argparse.ArgumentTypeError."""
    with contextlib.suppress(ValueError):
        if 0 < (value := float(text)) < 1e9:
            return value
    raise argparse.ArgumentTypeError(f'"{text}" is not a number of seconds')


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f'"{text}" is not a whole number above 0')
    return int(text)


def _items(text: str) -> dict[str, str | None]:
    """Returns id -> cursor or None of `[CURSOR:]ID,...` (protocol page, part 1). The client checks them."""
    items: dict[str, str | None] = {}
    for item in text.split(","):
        cursor, colon, id = item.strip().rpartition(":")
        items[id] = cursor if colon else None
    return items


@contextlib.contextmanager
def back_end(args: argparse.Namespace) -> Iterator[Realplexor]:
    """Yields the client that the options describe; turns its errors into UsageError and Failed."""
    from rplx.client import Realplexor

    try:
        host, port = parse_target(args.address)
    except ValueError as error:
        raise UsageError(f"--in or {IN_VARIABLE}: {error}") from error
    login, password = _credentials(args.login)
    with (
        _errors(f"--in HOST:PORT or {IN_VARIABLE}"),
        Realplexor(
            host, port, args.namespace, login=login, password=password, timeout=args.timeout, tls=args.tls
        ) as client,
    ):
        yield client


@contextlib.contextmanager
def _errors(option: str) -> Iterator[None]:
    """Turns the client's errors into UsageError and Failed. `option`: what sets the address, for the message."""
    from rplx.client import ConnectionFailed, InvalidArgument, RealplexorError

    try:
        yield
    except InvalidArgument as error:
        raise UsageError(str(error)) from error
    except ConnectionFailed as error:
        raise Failed(f"{error} (is the server running there? another address: {option})") from error
    except RealplexorError as error:
        raise Failed(str(error)) from error


def _credentials(login: str | None) -> tuple[str | None, str | None]:
    if not login:
        return None, None
    name, colon, password = login.partition(":")
    if colon:
        return name, password
    if PASSWORD_VARIABLE in os.environ:
        return name, os.environ[PASSWORD_VARIABLE]
    return name, _ask_password(name)


def _ask_password(login: str) -> str:
    import getpass

    with warnings.catch_warnings():
        # Without a terminal getpass would show the password, and read it from stdin, where the message may be.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(f"Password for {login}: ")
        except (getpass.GetPassWarning, EOFError) as error:
            text = f"no terminal to ask for the password on; give --login {login}:PASSWORD or {PASSWORD_VARIABLE}"
            raise UsageError(text) from error
