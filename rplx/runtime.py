"""What a process under another server shares: `serve()` makes it, `current()` returns it if it is there."""

from rplx.hosts.runtime import Runtime, current, serve

__all__ = ["Runtime", "current", "serve"]
