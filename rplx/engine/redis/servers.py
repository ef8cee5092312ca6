"""Which Redis server has which keys: one server, the master that Sentinel names, or the nodes of a cluster."""

from __future__ import annotations

import binascii
import time
from typing import Any, Protocol

from redis import exceptions

from rplx.engine.redis.address import Address, Node
from rplx.engine.redis.wire import LOST, REPLY_TIMEOUT, RedisError, Wire, parsing

SLOTS = 16384  # of a cluster (Redis Cluster specification, "Key distribution model")
REFRESH_EVERY = 0.2  # seconds between two looks at a cluster's map, however many ask for it
ONE: Node = ("", 0)


class Servers(Protocol):
    """Where commands are sent."""

    sharded: bool
    """Whether a channel is announced only by the node that has it (SPUBLISH)."""

    def tag(self, id: str) -> str:
        """Returns what the keys of channel `id` share with all others that one script may touch."""

    def node(self, tag: str) -> Node:
        """Returns the node that has the keys of `tag`, as far as is known."""

    def nodes(self) -> list[Node]:
        """Returns all nodes that are written to."""

    def clocks(self) -> list[tuple[Node, str]]:
        """Returns all nodes that draw cursors, each with a tag in whose order it draws."""

    def connect(self, node: Node, timeout: float = REPLY_TIMEOUT) -> Wire:
        """Returns a new connection. Raises LOST, RedisError."""

    def refresh(self) -> None:
        """Reads anew which node has what. Raises LOST, RedisError."""


class SingleServer:
    """One Redis, or the master that Sentinel names."""

    sharded = False

    def __init__(self, address: Address) -> None:
        self._address = address

    def tag(self, id: str) -> str:
        return ""

    def node(self, tag: str) -> Node:
        return ONE

    def nodes(self) -> list[Node]:
        return [ONE]

    def clocks(self) -> list[tuple[Node, str]]:
        return [(ONE, "")]

    def connect(self, node: Node, timeout: float = REPLY_TIMEOUT) -> Wire:
        address = self._address
        if address.kind != "sentinel":
            return Wire(address, address.nodes[0] if address.nodes else ONE, timeout=timeout)
        wire = Wire(address, self._master(), timeout=timeout)
        try:
            with parsing():
                if wire.ask("ROLE")[0] != b"master":  # Sentinel has not noticed yet
                    raise exceptions.ConnectionError("the master has become a replica")
        except BaseException:
            wire.close()
            raise
        return wire

    def _master(self) -> Node:
        problem: Exception = exceptions.ConnectionError("no Sentinel knows the service")
        for node in self._address.nodes:
            try:
                if found := self._ask_sentinel(node):
                    return found
            except (*LOST, RedisError) as error:
                problem = error
        raise problem

    def _ask_sentinel(self, node: Node) -> Node | None:
        """Returns the master, None if this Sentinel does not know the service. Raises LOST, RedisError."""
        wire = Wire(self._address, node, sentinel=True)
        try:
            with parsing():
                found = wire.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._address.service)
                return (found[0].decode(), int(found[1])) if found else None
        finally:
            wire.close()

    def refresh(self) -> None:
        """Does nothing: each new connection asks Sentinel."""


class ClusterServers:
    """The masters of a Redis Cluster, by slot."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self.sharded = True
        self._tags = _tags_by_slot()
        self._by_slot: list[Node] = [address.nodes[0]] * SLOTS
        self._known: list[Node] = list(address.nodes)
        self._refreshed = 0.0
        self._whole = "{" in address.prefix and "}" in address.prefix  # the operator has put everything into one slot
        self._slot_of_prefix = slot(address.prefix)

    def tag(self, id: str) -> str:
        return self._tags[self._slot_of_prefix if self._whole else slot(f"{{{id}}}")]

    def node(self, tag: str) -> Node:
        return self._by_slot[self._slot_of_prefix if self._whole else slot(f"{{{tag}}}")]

    def nodes(self) -> list[Node]:
        if not self._refreshed:
            return []
        return list(dict.fromkeys(self._by_slot))

    def clocks(self) -> list[tuple[Node, str]]:
        return [(node, tags[0]) for node, tags in self.tags_by_node().items()] if self._refreshed else []

    def tags_by_node(self) -> dict[Node, list[str]]:
        """Returns the tags of all slots that are used, by node."""
        found: dict[Node, list[str]] = {}
        for tag in [self.tag("")] if self._whole else self._tags:
            found.setdefault(self.node(tag), []).append(tag)
        return found

    def connect(self, node: Node, timeout: float = REPLY_TIMEOUT) -> Wire:
        if not self._refreshed:
            self.refresh()
        return Wire(self._address, node, timeout=timeout)

    def refresh(self) -> None:
        now = time.monotonic()
        if self._refreshed and now - self._refreshed < REFRESH_EVERY:
            return
        self._refreshed = now
        problem: Exception = exceptions.ConnectionError("no node of the cluster answers")
        for node in dict.fromkeys([*self._known, *self._address.nodes]):
            try:
                wire = Wire(self._address, node)
                try:
                    with parsing():
                        self._take(wire.ask("CLUSTER", "SLOTS"), node)
                        self._detect(wire)
                finally:
                    wire.close()
                return
            except (*LOST, RedisError) as error:
                problem = error
        raise problem

    def _take(self, ranges: list[Any], asked: Node) -> None:
        known: dict[Node, None] = {}
        for first, last, *members in ranges:
            found = [(member[0].decode() if member[0] else asked[0], int(member[1])) for member in members]
            self._by_slot[first : last + 1] = [found[0]] * (last - first + 1)
            known.update(dict.fromkeys(found))
        if not known:
            raise exceptions.ConnectionError("the cluster has no slots assigned")
        self._known = list(known)

    def _detect(self, wire: Wire) -> None:
        """Finds out whether there is sharded pub/sub, which came with Redis 7."""
        found = wire.ask("COMMAND", "INFO", "SPUBLISH")
        self.sharded = bool(found and found[0])


def servers(address: Address) -> Servers:
    """Returns the servers of an address; does not connect."""
    return ClusterServers(address) if address.kind == "cluster" else SingleServer(address)


def slot(key: str) -> int:
    """Returns a key's slot: that of the text in its first braces, if any (Redis Cluster specification, "Hash tags")."""
    begin = key.find("{")
    if begin >= 0 and (end := key.find("}", begin + 1)) > begin + 1:
        key = key[begin + 1 : end]
    return binascii.crc_hqx(key.encode(), 0) % SLOTS


def _tags_by_slot() -> list[str]:
    """Returns for each slot a text that belongs there, as a tag of what its channels share."""
    tags: list[str | None] = [None] * SLOTS
    missing, number = SLOTS, 0
    while missing:
        text = f"{number:x}"
        at = binascii.crc_hqx(text.encode(), 0) % SLOTS
        if tags[at] is None:
            tags[at] = text
            missing -= 1
        number += 1
    return [tag for tag in tags if tag is not None]
