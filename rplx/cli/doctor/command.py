"""The subcommand `rplx doctor`: the order of its questions, and its exit status."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator

from rplx.cli import client
from rplx.cli.client import DEFAULT_IN
from rplx.cli.doctor import announcing, answers, machine, messages, naming, outside
from rplx.cli.doctor.asking import Answer, NotAsked, Place, Silent, parse_url
from rplx.cli.doctor.cures import recognised
from rplx.cli.doctor.cut import Asking, Waiting
from rplx.cli.doctor.findings import Finding, as_json, as_lines, is_well, untested
from rplx.errors import UsageError
from rplx.options.checks import origin as wrong_origin
from rplx.options.checks import parse_target, unix_path

WELL, SOMETHING_FOUND = 0, 1


def run(args: argparse.Namespace) -> int:
    """Asks, prints and returns the exit status. Raises UsageError if nobody could be asked."""
    place = parse_url(args.url)
    if args.origin is not None and (problem := wrong_origin(args.origin)):
        raise UsageError(f"--origin: {problem}")
    here = machine.is_here(place.host)
    in_address = args.address or (DEFAULT_IN if here else None)
    try:
        answer = answers.first(place)
    except NotAsked as error:
        cause = announcing.check(place) if isinstance(error, Silent) else None
        if cause is None:
            raise UsageError(f"{place.url}: {error}") from error
        programs, found = [], [cause]
    else:
        programs = recognised(answer.headers)
        found = list(_asked(place, answer, args, in_address))
    if args.json:
        print(json.dumps(as_json(place.url, programs, found), indent=2))
    else:
        print(f"{place.url}{', through ' + ', '.join(programs) if programs else ''}")
        print("\n".join(as_lines(found, programs)))
    return WELL if is_well(found) else SOMETHING_FOUND


def _asked(place: Place, answer: Answer, args: argparse.Namespace, in_address: str | None) -> Iterator[Finding]:
    waiting, asking = Waiting(place, args.patience), Asking(place)
    yield from answers.check(place, answer, args.origin)
    yield from naming.check(place, recognised(answer.headers), here=machine.is_here(place.host))
    yield from _with_in(place, args, in_address)
    host, port = parse_target(in_address) if in_address else ("", 0)
    yield outside.check(place, sorted({outside.DEFAULT_PORT, port} - {0}))
    in_path = unix_path(host)
    if in_path is not None or (host and machine.is_here(host)):
        yield from machine.check([in_path or port, place.socket or place.port])
    else:
        yield untested(
            "machine", "run this on the server's own machine to see its descriptors and its kernel's settings"
        )
    yield asking.finding()
    if waiting.left > 1 and sys.stderr.isatty():
        print(f"waiting {waiting.left:.0f} s to see whether a poll is cut", file=sys.stderr)
    yield waiting.finding()


def _with_in(place: Place, args: argparse.Namespace, in_address: str | None) -> Iterator[Finding]:
    """Yields what needs IN. An address that the user has not named may be another server's."""
    if in_address is None:
        yield from messages.untested_all("needs the server's IN line: --in HOST:PORT, on a machine that reaches it")
        return
    given = args.address is not None
    args.address = in_address
    login = (args.login or "").partition(":")[0]
    try:
        with client.back_end(args) as back_end:
            yield from messages.check(messages.Probe(place, back_end, login), given=given)
    except client.Failed as error:
        yield untested("IN", str(error))
