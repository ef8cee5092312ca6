"""The subscriptions of all followed channels: each on the server that announces it, wherever the channel moves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

import gevent

from rplx.engine.observing import Observer
from rplx.engine.redis.address import Node
from rplx.engine.redis.health import Health
from rplx.engine.redis.names import Names
from rplx.engine.redis.replica import Replica
from rplx.engine.redis.servers import Servers
from rplx.engine.redis.subscriber import Subscriber

STEPS = 200  # channels looked at between two rests

T = TypeVar("T")


class Subscriptions:
    """Tells the `replicas` when their announcements come and when they cease.

    `reread` is called with a channel that has to be read, `announced` with each announcement, and `lost` when a server
    no longer announces, so that whoever waits for an answer looks again.
    """

    def __init__(
        self,
        servers: Servers,
        names: Names,
        replicas: dict[str, Replica],
        reread: Callable[[str], None],
        announced: Callable[[bytes], None],
        lost: Callable[[], None],
        health: Health,
        observer: Observer,
    ) -> None:
        self._servers = servers
        self._names = names
        self._replicas = replicas
        self._reread = reread
        self._announced = announced
        self._wake = lost
        self._health = health
        self._observer = observer
        self._nodes: dict[str, Node] = {}  # channel -> the node on which it is subscribed
        self._subscribers: dict[Node, Subscriber] = {}

    def close(self) -> None:
        """Ends all subscriptions."""
        for subscriber in self._subscribers.values():
            subscriber.close()

    def follow(self, id: str) -> None:
        """Subscribes channel `id` on the node that has it."""
        node = self._nodes[id] = self._servers.node(self._servers.tag(id))
        subscriber = self._subscribers.get(node)
        if subscriber is None:
            reports = (self._subscribed, self._announced, self._lost, self._refreshed, self._moved)
            subscriber = Subscriber(self._servers, node, *reports, self._health, self._observer)
            self._subscribers[node] = subscriber
            if not self._servers.sharded:
                subscriber.follow(self._names.topic_of_all)  # first, so that no channel is heard without it
        subscriber.follow(self._names.topic(id))

    def unfollow(self, id: str) -> None:
        """Ends the subscription of channel `id`."""
        self._subscribers[self._nodes.pop(id)].unfollow(self._names.topic(id))

    def is_up(self, id: str) -> bool:
        """Returns whether announcements of channel `id` may be expected soon: its server was not lost just now."""
        subscriber = self._subscribers.get(self._nodes[id])
        return subscriber is None or subscriber.up or not subscriber.lost_before

    # -- what the subscribers report

    def _subscribed(self, topics: list[bytes]) -> None:
        for topic in topics:
            id = self._names.id_of(topic)
            replica = self._replicas.get(id)
            if replica is not None:
                replica.subscribe()
                self._reread(id)

    def _lost(self, node: Node) -> None:
        for id, at in in_turns(self._nodes.items(), self._observer):
            replica = self._replicas.get(id)
            if at == node and replica is not None:
                replica.unsubscribe()
        self._wake()

    def _refreshed(self, node: Node) -> None:
        """Follows channels of a node that could not be reached to where they are now."""
        if len(self._servers.nodes()) > 1:
            for id, at in in_turns(self._nodes.items(), self._observer):
                if at == node and id in self._replicas:
                    self._follow_move(id)

    def _moved(self, topic: bytes) -> None:
        id = self._names.id_of(topic)
        replica = self._replicas.get(id)
        if replica is not None:
            replica.unsubscribe()
            gevent.spawn(self._find_again, id)

    def _find_again(self, id: str) -> None:
        try:
            self._servers.refresh()
        except Exception as error:  # the next loss or move tries again
            self._health.note(error)
        if id in self._replicas:
            self._follow_move(id)
            self.follow(id)

    def _follow_move(self, id: str) -> None:
        """Subscribes a channel anew if it has moved to another node of the cluster."""
        node = self._servers.node(self._servers.tag(id))
        if node != self._nodes[id]:
            self._subscribers[self._nodes[id]].unfollow(self._names.topic(id))
            self.follow(id)


def in_turns(items: Collection[T], observer: Observer) -> Iterator[T]:
    """Yields from a copy of `items`, with rests. Others may go on meanwhile, so some may be gone by their turn."""
    for number, item in enumerate(list(items)):
        if number % STEPS == 0:
            observer.rest()
        yield item
