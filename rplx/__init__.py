"""rplx: a Comet server that speaks the Realplexor protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rplx.version import __version__

if TYPE_CHECKING:
    from rplx.client.grants import Channels
    from rplx.client.names import Ids

__all__ = ["__version__", "grant", "publish"]


def publish(ids: Ids, data: Any, limit_to: Ids | None = None) -> dict[str, str]:
    """Sends `data` to channels, from any process of a site. The message is stored when this returns.

    `ids`: an id, several, or a mapping id -> cursor (None: the server draws one). `data`: anything that `json` takes.
    `limit_to`: ids; only listeners that also listen to one of them see the message. Returns the receipt: id -> the
    message's cursor there (protocol page, part 7.1).

    In a process that serves polls (a worker under RealplexorMiddleware or `rplx.wsgi:application`) the message goes
    straight to the engine; from any other process to the IN line at RPLX_IN, by default `in.listen`. May be called from
    any thread. Raises rplx.client.RealplexorError, as the client's `send` does; ConfigError for wrong RPLX_ variables.
    """
    from rplx.hosts.publishing import publish  # late, as most processes that import rplx send nothing

    return publish(ids, data, limit_to)


def grant(
    user: str | int | None,
    channels: Channels,
    *,
    seconds: float = 600,
    key: str | bytes | None = None,
    kid: str | None = None,
    info: Any = None,
) -> str:
    """Returns a grant: a signed text with which its holder may listen to channels (protocol page, part 12).

    `user`: the id of who holds it, or None. `channels`: ids, or prefixes that end in `*`. `seconds`: how long it
    counts. `key`: `env:NAME`, `file:PATH` or the key itself, of 32 bytes at least; by default what the variable
    RPLX_GRANT_KEY holds, with the name RPLX_GRANT_KID. `kid`: the key's name in the server's `grants.keys`. `info`:
    anything that `json` takes, told to the server. Raises rplx.client.InvalidArgument. Talks to no server.
    """
    from rplx.client.grants import grant

    return grant(user, channels, seconds=seconds, key=key, kid=kid, info=info)
