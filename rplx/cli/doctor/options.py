"""The options of `rplx doctor`; imports little, as every command does that is not asked for."""

from __future__ import annotations

import argparse
import os

from rplx.cli.client import DEFAULT_IN, IN_VARIABLE, TIMEOUT, seconds

PATIENCE = 130.0  # seconds; most of what cuts polls does so after 50, 60 or 100


def configure(parser: argparse.ArgumentParser) -> None:
    """Gives the parser the options."""
    parser.epilog = "Exit status: 0 all is well, 1 something is wrong, 2 wrong usage, or nobody could be asked."
    add = parser.add_argument
    add(
        "url", metavar="URL", help="the WAIT line as browsers reach it, such as https://example.com/rpl/; or unix:/PATH"
    )
    help_in = "the server's IN line, or unix:/PATH, to send by and to count listeners"
    help_in += f" (default ${IN_VARIABLE}; here {DEFAULT_IN})"
    add("--in", dest="address", default=os.environ.get(IN_VARIABLE), metavar="HOST:PORT", help=help_in)
    add("--tls", action="store_true", help="the IN line speaks TLS")
    add("--login", metavar="LOGIN[:PASSWORD]", help="for the IN line")
    add("--origin", metavar="ORIGIN", help="a page's origin, such as https://example.com: may it poll there?")
    patience = f"how long to see whether a poll is cut (default {PATIENCE:g})"
    add("--patience", type=seconds, default=PATIENCE, metavar="SECONDS", help=patience)
    add("--json", action="store_true", help="print the findings as one JSON object")
    parser.set_defaults(namespace=None, timeout=TIMEOUT)
