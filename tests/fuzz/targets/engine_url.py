"""engine.url: an Address that redis-py can use, or ConfigError that does not show the URL."""

from __future__ import annotations

from collections.abc import Iterator

from rplx.engine.redis import address, wire
from rplx.errors import ConfigError
from rplx.options.checks import engine_url
from tests.fuzz.inputs import plain, repeated

SIZE = 4096
SOME = [
    "redis://localhost:6379/0",
    "rediss://me:p%40ss@[::1]:6380/1?ssl_cert_reqs=none&prefix=x",
    "redis+sentinel://u:p@a:1,b:2/main/3?sentinel_password=s&socket_timeout=1",
    "valkeys+cluster://a,b:7000/0?ssl_ca_certs=/x",
    "unix:///run/redis.sock?db=2&client_name=x&health_check_interval=1&protocol=3",
    "redis://h?ssl_min_version=TLSv1_2&retry_on_error=x&max_connections=5&username=a&password=b",
]


def seeds() -> Iterator[bytes]:
    for text in SOME:
        yield plain(text.encode())
    for text in (b"redis://", b"redis://a,", b"redis://h?a=b&", b"%", b"@", b"redis://[", b"x:1,"):
        yield repeated(text)


def check(data: bytes) -> None:
    url = data.decode(errors="surrogateescape")
    if engine_url(url):
        return  # the option's own check refuses it first
    problem = ""
    try:
        wire.check(address.parse(url))
    except ConfigError as error:
        problem = str(error)
    assert url not in problem
