"""Descriptors 0, 1 and 2. The process may be started without them, and what is opened next would take their places."""

from __future__ import annotations

import os
import sys

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))  # by descriptor


def fill() -> None:
    """Opens /dev/null in the place of each that is closed. Call it before anything is opened that stays open."""
    for descriptor, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest that is free, which is this one
        if getattr(sys, name) is None:  # as Python leaves it where the descriptor was closed
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115
