"""Listening sockets that have a path instead of a host and a port (unix(7))."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import stat
from errno import EADDRINUSE


class UnixSocket(socket.socket):
    """A listening socket at a path of the file system, which is removed with it."""

    def __init__(self, path: str, mode: int, user: str) -> None:
        """Binds to `path` with the access rights `mode`; `user` owns it if that is not "" and this is root.

        Raises OSError, also if `path` is there and no socket, or a socket at which somebody listens.
        """
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        self._process = os.getpid()
        self._path = path
        self._file: tuple[int, int] | None = None
        before = os.umask(0o777 & ~mode)  # a mode that is set later would come too late for some
        try:
            _remove_stale(path)
            self.bind(path)
        except BaseException:
            super().close()
            raise
        finally:
            os.umask(before)
        self._file = _identity(path)
        if user and os.getuid() == 0:
            entry = pwd.getpwnam(user)
            # Who may write to the directory may have put a link in place of the socket by now.
            os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)

    def withdraw(self) -> None:
        """Removes the path, so that nobody new can connect. Does nothing in a process that was forked."""
        if self._process != os.getpid() or self._file is None:
            return
        with contextlib.suppress(OSError):  # the directory may not be ours any more, and the next start replaces it
            if _identity(self._path) == self._file:  # else another server listens there by now
                os.unlink(self._path)
        self._file = None

    def close(self) -> None:
        """Closes the socket, and removes its path."""
        self.withdraw()
        super().close()


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path, follow_symlinks=False)
    return found.st_dev, found.st_ino


def _remove_stale(path: str) -> None:
    """Removes the socket of a server that has ended. Raises OSError if there is anything else at `path`."""
    try:
        mode = os.stat(path, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError("there is a file of that name that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # whoever listens with a full queue is there, too
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass
    raise OSError(EADDRINUSE, os.strerror(EADDRINUSE))
