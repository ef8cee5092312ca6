"""How large the experiments are: as the page shows them, or a few seconds each to see that they run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    listeners: int = 10_000  # of one crowd
    crowd: int = 15_000  # of the largest crowd
    sizes: tuple[int, ...] = (1_000, 5_000, 10_000, 15_000)
    rounds: int = 5
    polls: int = 1_000_000  # that memory is watched for
    fan_outs: int = 20  # messages to the crowd while a ticker runs
    pause_seconds: float = 20.0  # that pauses are looked for
    send_seconds: float = 2.0  # of one round of sends
    leave_seconds: tuple[int, ...] = (1, 10, 40)  # after a crowd has left; presence forgets after 30
    capacity: int = 200_000  # listeners of several workers


FULL = Scale()
QUICK = Scale(500, 750, (200, 400, 600), 2, 5_000, 2, 2.0, 0.5, (1,), 2_000)
