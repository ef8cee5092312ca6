"""`rplx grant`: makes a grant, or shows what one holds (protocol page, part 12). Asks no server."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from typing import Any

from rplx.cli.client import seconds
from rplx.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Gives `rplx grant` its arguments."""
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--channels", metavar="ID[,ID...]", help="channels, or prefixes that end in *")
    what.add_argument("--show", metavar="TOKEN", help="say what a grant holds; its signature is not looked at")
    add("--seconds", type=seconds, default=600.0, help="how long it counts (default 600)")
    add("--user", metavar="ID", help="who holds it")
    add("--info", metavar="JSON", help="more about the user, for the server")
    add("--key", metavar="KEY", help="env:NAME or file:PATH of the key that signs (default env:RPLX_GRANT_KEY)")
    add("--kid", metavar="NAME", help="the key's name in the server's grants.keys (default $RPLX_GRANT_KID)")


def run(args: argparse.Namespace) -> int:
    """Prints a grant, or what one holds. Returns the exit status. Raises UsageError."""
    from rplx.client import InvalidArgument

    try:
        print(_shown(args.show) if args.show is not None else _made(args))
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


def _shown(token: str) -> str:
    """Returns the head and the claims as JSON, and when it ends in words."""
    from rplx.client.grants import contents

    head, claims = contents(token.strip())
    return json.dumps({"head": head, "claims": claims, "ends": _ends(claims.get("exp"))}, ensure_ascii=False, indent=2)


def _ends(exp: Any) -> str:
    if isinstance(exp, bool) or not isinstance(exp, (int, float)):
        return "never, so no server takes it"
    try:
        return datetime.fromtimestamp(exp, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return "never, so no server takes it"
