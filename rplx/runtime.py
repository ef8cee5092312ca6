"""What a process under a foreign server shares: `serve` gives it, `current` too if there is one."""

from rplx.hosts.runtime import Runtime, current, serve

__all__ = ["Runtime", "current", "serve"]
