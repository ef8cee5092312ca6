"""`rplx grant`: makes a grant, or shows what one holds, and whether a configuration takes it (protocol page, part 12).

Asks no server.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rplx.cli.client import seconds
from rplx.errors import InvalidGrant, UsageError

if TYPE_CHECKING:
    from rplx.options.table import Config


def configure(parser: argparse.ArgumentParser) -> None:
    """Gives `rplx grant` its arguments."""
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--channels", metavar="ID[,ID...]", help="channels, or prefixes that end in *")
    what.add_argument("--show", metavar="TOKEN", help="say what a grant holds, and whether the configuration takes it")
    add("--seconds", type=seconds, default=600.0, help="how long it counts (default 600)")
    add("--user", metavar="ID", help="who holds it")
    add("--info", metavar="JSON", help="more about the user, for the server")
    add("--key", metavar="KEY", help="env:NAME or file:PATH of the key that signs (default env:RPLX_GRANT_KEY)")
    add("--kid", metavar="NAME", help="the key's name in the server's grants.keys (default $RPLX_GRANT_KID)")


def run(args: argparse.Namespace, load: Callable[[], Config]) -> int:
    """Prints a grant, or what one holds. `load` reads the configuration, which --show needs.

    Returns the exit status, 1 for a grant that is not taken. Raises UsageError, ConfigError.
    """
    from rplx.client import InvalidArgument

    try:
        if args.show is not None:
            return _show(args.show.strip(), load)
        print(_made(args))
    except InvalidArgument as error:
        raise UsageError(str(error)) from error
    return 0


def _made(args: argparse.Namespace) -> str:
    from rplx.client.grants import grant

    if args.key is not None and not args.key.startswith(("env:", "file:")):
        raise UsageError("--key names where the key is, env:NAME or file:PATH: others see what stands in a command")
    try:
        info = None if args.info is None else json.loads(args.info)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--info is no JSON: {error}") from error
    return grant(args.user, args.channels.split(","), seconds=args.seconds, key=args.key, kid=args.kid, info=info)


def _show(token: str, load: Callable[[], Config]) -> int:
    """Prints the head and the claims as JSON, when it ends in words, and why it is not taken, null if it is."""
    from rplx.client.grants import contents

    head, claims = contents(token)
    refused = _refused(token, load())
    shown = {"head": head, "claims": claims, "ends": _ends(claims.get("exp")), "refused": refused}
    print(json.dumps(shown, ensure_ascii=False, indent=2))
    return 0 if refused is None else 1


def _refused(token: str, config: Config) -> str | None:
    """Returns why a server of this configuration does not take a grant, None if it does. Raises ConfigError."""
    from rplx.access.grant_keys import read_keys
    from rplx.access.listening import Listening

    if not config.grants.keys:
        return "there is no key in grants.keys of this configuration"
    try:
        Listening(config, read_keys(config.grants.keys)).verified(token, time.time())
    except InvalidGrant as error:
        return error.text
    return None


def _ends(exp: Any) -> str:
    if isinstance(exp, bool) or not isinstance(exp, (int, float)):
        return "never, so no server takes it"
    try:
        return datetime.fromtimestamp(exp, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return "never, so no server takes it"
