"""Signals that processes of ours send and are sent."""

from __future__ import annotations

import ctypes
import os
import signal

HANDLED_SIGNALS = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}
TOO_LARGE_SIGNAL = signal.SIGRTMIN + 1  # the supervisor tells a worker so that it has grown too large
IGNORED_SIGNALS = {
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGPIPE,
}  # log rotation's among them: we hold no log file open
_PR_SET_PDEATHSIG = 1


def hold_signals() -> None:
    """Signals that a server handles wait from now on, in this process and those forked from it; others end nobody."""
    for number in IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {*HANDLED_SIGNALS, TOO_LARGE_SIGNAL})


def release_signals() -> None:
    """The signals that were held come now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {*HANDLED_SIGNALS, TOO_LARGE_SIGNAL})


def die_with_parent(parent: int) -> None:
    """Ends this process with SIGTERM when `parent` dies, so that nobody serves unsupervised (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
