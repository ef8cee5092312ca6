"""What engine.url says of a file: sqlite:///PATH, where an absolute path has its own slash: sqlite:////var/lib/x."""

from __future__ import annotations

PREFIX = "sqlite:///"


def path_of(url: str) -> str:
    """Returns the path of the file, relative to the working directory if it has no slash of its own."""
    return url.removeprefix(PREFIX)
