"""rplx: a Comet server that speaks the Realplexor protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rplx.version import __version__

if TYPE_CHECKING:
    from rplx.client.names import Ids

__all__ = ["__version__", "publish"]


def publish(ids: Ids, data: Any, limit_to: Ids | None = None) -> dict[str, str]:
    """Sends `data` to channels from any process of a site; see rplx.hosts.publishing.publish."""
    from rplx.hosts.publishing import publish  # not before it is called: most who import rplx send nothing

    return publish(ids, data, limit_to)
