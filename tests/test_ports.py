"""Ports that the tests give to programs which cannot choose one by themselves."""

from __future__ import annotations

import subprocess
import sys

from tests.redis_server import free_port

ASKING = """
import sys
from tests.redis_server import is_ours
for line in sys.stdin:
    print(is_ours(int(line)), flush=True)
"""


def test_what_one_run_of_the_tests_was_given_no_other_takes() -> None:
    """It is free again when the process that had it has ended, however it ends."""
    command = [sys.executable, "-c", ASKING]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as two:  # type: ignore[call-overload]

        def asked(process: subprocess.Popen[str], port: int) -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{port}\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        port = free_port()
        assert [asked(one, port), asked(two, port)] == ["False", "False"]
        other = 100_000 + port  # above all ports, and of this run alone
        assert [asked(one, other), asked(one, other), asked(two, other)] == ["True", "True", "False"]
        one.kill()
        one.wait()
        assert asked(two, other) == "True"
        two.kill()
