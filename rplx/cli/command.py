"""The command `rplx`: `main`, the table of its subcommands, and the subcommands that start or prepare a server.

gevent, the server and the client are imported in the commands that need them, so that `rplx send` starts fast.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rplx.bench import command as bench
from rplx.cli import client, grant, history
from rplx.cli.client import CLIENT_VARIABLES
from rplx.cli.doctor import options as doctor
from rplx.errors import ConfigError, RplxError, UsageError
from rplx.journal import complain
from rplx.system import standard_streams
from rplx.version import __version__

if TYPE_CHECKING:
    from rplx.options.table import Config

OK, FAILED, WRONG_USAGE = 0, 1, 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


@dataclass(frozen=True)
class Command:
    """A subcommand: `configure` gives a parser its arguments, `run` carries it out and returns the exit status."""

    name: str
    help: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def _configure_serve(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--wait", action="append", metavar="HOST:PORT", help="address for browsers, repeatable (default 0.0.0.0:8088)")
    add(
        "--in",
        action="append",
        dest="in_",
        metavar="HOST:PORT",
        help="address for back-ends, repeatable (default 127.0.0.1:10010)",
    )
    _configure_options(parser)
    add("--check-config", action="store_true", help="say what is wrong with the configuration, start nothing")
    add("--workers", metavar="N", help="processes; more than one needs Redis (engine.url)")
    add("--demo", action="store_true", help="serve the sandbox page at /; lets anybody publish")
    add("--verbose", action="store_true", help="log each connection, request and delivery, with the time")


def _configure_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--config", metavar="FILE.toml", help="configuration file (default: $RPLX_CONFIG, if set)")
    add("--defaults", metavar="FILE.toml", help="file of other defaults, which the configuration file wins over")
    add(
        "--set",
        action="append",
        type=_setting,
        default=[],
        metavar="OPTION=VALUE",
        help="such as wait.timeout=60; repeatable",
    )


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f'"{text}" is not OPTION=VALUE')
    return name.strip(), value


def _overrides(args: argparse.Namespace, *, demo: bool) -> list[tuple[str, str]]:
    """Returns the flags as options; --set stands last and wins."""
    overrides = []
    if args.wait:
        overrides.append(("wait.listen", ",".join(args.wait)))
    if args.in_:
        overrides.append(("in.listen", ",".join(args.in_)))
    if args.workers is not None:
        overrides.append(("server.workers", args.workers))
    if demo:
        overrides.append(("demo.enabled", "true"))
    if args.verbose:
        overrides += [("log.connections", "true"), ("log.verbosity", "2")]
    return overrides + list(args.set)


def _loader(args: argparse.Namespace, overrides: list[tuple[str, str]]) -> Callable[[], Config]:
    """Returns a function that reads the configuration anew, and raises ConfigError."""
    # The client's variables are no options of the server, and a shell may well have both.
    environ = {name: value for name, value in os.environ.items() if name not in CLIENT_VARIABLES}
    path = args.config or environ.get("RPLX_CONFIG") or None

    from rplx.options import reading

    return lambda: reading.load(path, environ, overrides, args.defaults)


def _serve(args: argparse.Namespace, *, demo: bool = False) -> int:
    load = _loader(args, _overrides(args, demo=demo or args.demo))

    from rplx.serving import daemon

    return daemon.check(load) if args.check_config else daemon.serve(load)


def _configure_health(parser: argparse.ArgumentParser) -> None:
    _configure_options(parser)
    parser.add_argument(
        "--wait", type=client.seconds, default=0.0, metavar="SECONDS", help="until it does, so long at most"
    )


def _health(args: argparse.Namespace) -> int:
    from rplx.cli import health

    print(health.wait(_loader(args, list(args.set))(), args.wait))
    return OK


def _configure_grant(parser: argparse.ArgumentParser) -> None:
    grant.configure(parser)
    _configure_options(parser)


def _grant(args: argparse.Namespace) -> int:
    return grant.run(args, _loader(args, list(args.set)))


def _doctor(args: argparse.Namespace) -> int:
    from rplx.cli.doctor import command

    return command.run(args)


def _demo(args: argparse.Namespace) -> int:
    return _serve(args, demo=True)


def _configure_migrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="OLD.conf", help="Perl configuration file of dklab_realplexor")


def _migrate(args: argparse.Namespace) -> int:
    from rplx.legacy import old_config

    sys.stdout.write(old_config.migrate_config(args.path))
    return OK


COMMANDS = [
    Command("serve", "run the server", _configure_serve, _serve),
    Command("demo", "run the server with its sandbox page at /", _configure_serve, _demo),
    Command("health", "say whether the server of this configuration answers", _configure_health, _health),
    Command("doctor", "say what stands between browsers and a server, and how to mend it", doctor.configure, _doctor),
    Command("send", "send a message to channels", client.configure_send, client.send),
    Command("online", "print who is online: ID COUNT", client.configure_online, client.online),
    Command("watch", "print who comes and goes, as it happens", client.configure_watch, client.watch),
    Command("stats", "print the server's state", client.configure_stats, client.stats),
    Command("listen", "print messages as they come", client.configure_listen, client.listen),
    Command("grant", "make a grant, or show what one holds", _configure_grant, _grant),
    Command("history", "check, back up and move what an engine has kept", history.configure, history.run),
    Command("bench", "measure a server and this machine", bench.configure, bench.run),
    Command("migrate-config", "print the TOML for an old configuration file", _configure_migrate, _migrate),
]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rplx",
        description="A Comet server: browsers hear at once what your site's back-end sends.",
        epilog="Exit status: 0 done, 1 refused or failed, 2 wrong usage or configuration.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"rplx {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        subparser = subparsers.add_parser(
            command.name,
            help=command.help,
            description=f"{command.help[0].upper()}{command.help[1:]}.",
            allow_abbrev=False,
        )
        command.configure(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs `rplx` with these arguments (None: the process's); returns its exit status. Errors go to stderr."""
    standard_streams.fill()
    _print_whatever_comes()
    try:
        args = _parser().parse_args(argv)
    except SystemExit as end:  # argparse has printed why
        return int(end.code or 0)
    try:
        status: int = args.run(args)
        sys.stdout.flush()
        return status
    except ConfigError as error:
        complain(str(error))
        return error.exit_status
    except UsageError as error:
        return _complain(args.command, error, WRONG_USAGE)
    except (RplxError, client.Failed) as error:
        return _complain(args.command, error, FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads our output any more; this keeps Python from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _print_whatever_comes() -> None:
    """Has characters that stdout has no bytes for (ASCII, lone surrogates) escaped, as they would raise otherwise."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _complain(command: str, error: Exception, status: int) -> int:
    print(f"rplx {command}: {error}", file=sys.stderr)
    return status
