"""Users, groups and capabilities of this process."""

from __future__ import annotations

import ctypes
import grp
import os
import pwd

from rplx.errors import ConfigError

_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION = 0x20080522  # of capset(2): two words of 32 bits for each set


def check_user(user: str) -> None:
    """Raises ConfigError if there is no such user; "" stands for no user."""
    if not user:
        return
    try:
        pwd.getpwnam(user)
    except KeyError:
        raise ConfigError([f'server.user: there is no user "{user}" on this machine']) from None


def drop_privileges(user: str) -> bool:
    """Becomes `user` for good, with all ids and groups. Returns False if this is not root, or `user` is ""."""
    if not user or os.getuid() != 0:
        return False
    entry = pwd.getpwnam(user)
    groups = [group.gr_gid for group in grp.getgrall() if user in group.gr_mem]
    os.setgroups([entry.pw_gid, *groups])
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    return True


def drop_capabilities() -> bool:
    """Gives up for good what lets a plain user bind a low port and the like. Returns False if the system refuses.

    A process of root keeps its capabilities: its operator wants it so.
    """
    if os.getuid() == 0:
        return True
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    nothing = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, twice
    return not libc.capset(header, nothing)
