"""The file with a daemon's process id. Root may write it where others may write too, so no link is followed."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from rplx.errors import ConfigError

_MODE = 0o644
_FLAGS = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe without a reader is an error at once


@contextlib.contextmanager
def held(path: str | None) -> Iterator[None]:
    """Keeps this process's id in a file while the block runs; None: in none. Raises ConfigError if it cannot write.

    A file that is there already is replaced and never written to: neither behind a link nor under another name.
    """
    if path is None:
        yield
        return
    file = Path(path)
    try:
        _check_links(file)
        folder = os.open(file.parent, os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _problem(path, error) from None
    text = f"{os.getpid()}\n".encode()
    try:
        try:
            _replace(folder, file.name, text)
        except OSError as error:
            raise _problem(path, error) from None
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                _remove(folder, file.name, text)
    finally:
        os.close(folder)


def _problem(path: str, error: OSError) -> ConfigError:
    return ConfigError([f"cannot write the pid file {path}: {error.strerror or error}"])


def _check_links(file: Path) -> None:
    """Raises OSError if root would reach the folder through a link of another user, which may lead anywhere."""
    if os.geteuid() != 0:
        return
    for folder in file.absolute().parents:
        found = folder.lstat()
        if stat.S_ISLNK(found.st_mode) and found.st_uid != 0:
            raise OSError(0, f"{folder} is a symbolic link of user {found.st_uid}")


def _replace(folder: int, name: str, text: bytes) -> None:
    """Puts a new file in the place of whatever has this name. Raises OSError."""
    temporary = f".{name}.{secrets.token_hex(8)}"
    try:
        made = os.open(temporary, _FLAGS | os.O_CREAT | os.O_EXCL, _MODE, dir_fd=folder)
    except PermissionError:
        _overwrite(folder, name, text)
        return
    try:
        with open(made, "wb") as file:
            file.write(text)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        os.unlink(temporary, dir_fd=folder)
        raise


def _overwrite(folder: int, name: str, text: bytes) -> None:
    """Writes a file that is ours in a folder that is not: it was made for us. Raises OSError."""
    with open(os.open(name, _FLAGS, dir_fd=folder), "wb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise OSError(0, "it is not a file with this name alone")
        file.truncate()
        file.write(text)


def _remove(folder: int, name: str, text: bytes) -> None:
    """Removes the file that we wrote, but not one that somebody else has put there since. Raises OSError."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(name, flags, dir_fd=folder), "rb") as file:
        ours = file.read(len(text) + 1) == text
    if ours:
        os.unlink(name, dir_fd=folder)
