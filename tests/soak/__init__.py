"""The promises of docs/design.md under load and faults: scenarios that a real server goes through, and what came out.

Each scenario takes its size, runs clients of its own (gevent) against `rplx serve`, and gives counts. tests/reliability
runs the short forms, `python -m tests.soak` the long ones.
"""
