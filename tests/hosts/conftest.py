from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.hosts.servers import HOOKS, Server, gunicorn, pywsgi, rplx_serve

OPTIONS = {
    "RPLX_WAIT_TIMEOUT": "300",
    "RPLX_WAIT_ALLOWED_ORIGINS": "https://example.com",
    "RPLX_WAIT_BODY_MAX": "6000",
    "RPLX_WAIT_HEAD_TIMEOUT": "4",  # that a POST without a length waits for its list under our own server
    "RPLX_PRESENCE_OFFLINE_TIMEOUT": "0.5",
}
STARTS: dict[str, Callable[[], Server]] = {
    "rplx": lambda: rplx_serve(OPTIONS),
    "gunicorn": lambda: gunicorn(*HOOKS, options=OPTIONS),
    "pywsgi": lambda: pywsgi(OPTIONS),
}
_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=STARTS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The WAIT line in each of the servers that it runs in; the IN line beside it."""
    with STARTS[request.param]() as child:
        yield child
        assert child.process.poll() is None, "\n".join(child.log)
    assert not [line for line in child.log if "Traceback" in line or "Error" in line], "\n".join(child.log)


@pytest.fixture
def prefix() -> str:
    """A prefix of channel ids that no other test uses."""
    return f"w{next(_numbers)}_"
