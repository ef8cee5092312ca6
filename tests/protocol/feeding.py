"""Feeds a reader the same bytes in different portions and tells what came of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from rplx.errors import Refusal
from rplx.protocol.http_request import HttpRequest
from rplx.protocol.request_reader import RequestReader, State

Outcome = tuple[list[HttpRequest], str, State]
"""The requests, the refusal as `NAME: TEXT` or "", and the state in which the reader stands."""


def bytewise(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def split_at(data: bytes, places: Iterable[int]) -> list[bytes]:
    """`data` cut at these indexes; what lies beyond its end is left out."""
    cuts = [0, *sorted({place for place in places if 0 < place < len(data)}), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(cuts)]


def outcome(reader: RequestReader, portions: Iterable[bytes], *, end: bool = False) -> Outcome:
    """What `reader` makes of the portions, and of the end of the sending half if `end`."""
    requests: list[HttpRequest] = []
    try:
        for portion in portions:
            requests += reader.feed(portion)
            if reader.error is not None:
                raise reader.error
        if end and (last := reader.end()) is not None:
            requests.append(last)
    except Refusal as error:
        return requests, f"{type(error).__name__}: {error.text}", reader.state
    return requests, "", reader.state
