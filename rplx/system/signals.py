"""The signals that our processes send and receive."""

from __future__ import annotations

import ctypes
import os
import signal

HANDLED_SIGNALS = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}
TOO_LARGE_SIGNAL = signal.SIGRTMIN + 1  # tells a worker from the supervisor that it has grown too large
REPLACED_SIGNAL = signal.SIGRTMIN + 2  # tells a worker from the supervisor that another one serves in its place
# SIGUSR1 and SIGUSR2 are what log rotation sends, and no log file is open here.
IGNORED_SIGNALS = {signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE}
_PR_SET_PDEATHSIG = 1


def hold_signals() -> None:
    """Blocks the signals that a server handles, here and in processes that are forked, and ignores harmless ones."""
    for number in IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {*HANDLED_SIGNALS, TOO_LARGE_SIGNAL, REPLACED_SIGNAL})


def release_signals() -> None:
    """Lets the signals come that `hold_signals` has blocked."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {*HANDLED_SIGNALS, TOO_LARGE_SIGNAL, REPLACED_SIGNAL})


def die_with_parent(parent: int) -> None:
    """Ends this process with SIGTERM when `parent` dies, so that no worker is left without a supervisor (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
