"""The listening sockets of all workers: bound at the start, and spread anew where the number of workers changes."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Sequence
from functools import partial

from rplx.errors import ConfigError
from rplx.log import Log
from rplx.net.listening import Sockets, listen, show_address, split
from rplx.options.table import Config


def bind(config: Config, log: Log, kept: Sequence[Sockets] = ()) -> list[Sockets]:
    """Returns the listening sockets of each worker. Raises ConfigError that names every address that cannot be had.

    Each worker has WAIT sockets of its own on the same ports, so that a worker that dies resets only its own
    connections. The IN sockets are shared by all workers, and so are those that have a path or that were inherited.
    `kept` are those that the workers had so far: a line that has sockets there goes on with these, so that nobody is
    refused or reset who connects meanwhile.
    """
    all_sockets = [Sockets([], []) for _ in range(config.server.workers)]
    problems: list[str] = []
    for bind_line in (_bind_wait, _bind_in):
        try:
            bind_line(config, log, all_sockets, kept)
        except ConfigError as error:
            problems += error.problems
    if problems:
        for sockets in all_sockets:
            sockets.without(kept).close()
        raise ConfigError(problems)
    return all_sockets


def _bind_wait(config: Config, log: Log, all_sockets: list[Sockets], kept: Sequence[Sockets]) -> None:
    """Binds the WAIT sockets of each worker; those of the others get the ports of the first. Raises ConfigError."""
    count = len(all_sockets)
    listen_on = partial(listen, option="wait.listen (--wait)", server=config.server, browsers=True, shared=count > 1)
    sockets = list(dict.fromkeys([sock for had in kept for sock in had.wait]))
    if not sockets:
        sockets = listen_on(config.wait.listen)
        for sock in sockets:
            log.message(f"WAIT: listening {show_address(sock)}")
    own, shared = split(sockets)
    for worker in all_sockets:
        worker.wait.extend(shared)
    taken: Counter[str] = Counter()
    for sock in own:  # also those of workers that are no more, as somebody may wait there already
        address = show_address(sock)
        all_sockets[taken[address] % count].wait.append(sock)
        taken[address] += 1
        if count > 1:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # one that was kept may have been alone
    for number, worker in enumerate(all_sockets):
        worker.wait.extend(listen_on([address for address in taken if taken[address] <= number]))


def _bind_in(config: Config, log: Log, all_sockets: list[Sockets], kept: Sequence[Sockets]) -> None:
    """Binds the IN sockets, which all workers share. Raises ConfigError."""
    shared = kept[0].in_ if kept else []
    if not shared:
        shared = listen(config.in_.listen, "in.listen (--in)", config.server, browsers=False)
        for sock in shared:
            log.message(f"IN: listening {show_address(sock)}")
    for sockets in all_sockets:
        sockets.in_.extend(shared)
