"""The old command line `dklab_realplexor [-p PIDFILE] [CONFIG]` (protocol page, part 5)."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

from rplx.errors import ConfigError
from rplx.journal import complain
from rplx.legacy.old_config import TITLE, config_loader
from rplx.system import standard_streams
from rplx.version import __version__


@dataclass(frozen=True)
class CommandLine:
    """What `dklab_realplexor` was started with; None for what was not given."""

    config: str | None
    pidfile: str | None


def parse_command_line(argv: list[str]) -> CommandLine:
    """Returns what the old command line says, options in any order.

    Wrong options, --help and --version end the process as argparse does (SystemExit).
    """
    parser = argparse.ArgumentParser(
        prog=TITLE,
        description="The Realplexor server with its old command line, configuration file and log. "
        "`rplx serve` is the same server with the new ones.",
        allow_abbrev=False,
    )
    parser.add_argument("-p", metavar="PIDFILE", dest="pidfile", help="write the process id into this file")
    parser.add_argument("config", metavar="CONFIG", nargs="?", help="old Perl configuration file")
    parser.add_argument("--version", action="version", version=f"{TITLE} (rplx {__version__})")
    options = parser.parse_args(argv)
    return CommandLine(options.config, options.pidfile)


def main(argv: list[str] | None = None) -> int:
    """Runs the server as the old command did; returns the exit status, 2 if the configuration is wrong."""
    standard_streams.fill()
    command_line = parse_command_line(sys.argv[1:] if argv is None else argv)
    # Imported late, as it loads gevent, which --help and a wrong command line need not wait for.
    from rplx.serving.daemon import run_legacy

    try:
        return run_legacy(config_loader(command_line.config), command_line.pidfile)
    except ConfigError as error:
        complain(str(error))
        return error.exit_status
