"""Opens the order of cursors in every slot of a cluster, once in its life.

Else a slot that is used for the first time would look like one whose node has lost its data, and every listener that
came before would be told of a gap.
"""

from __future__ import annotations

from rplx.engine.redis.names import Names
from rplx.engine.redis.servers import ClusterServers
from rplx.engine.redis.wire import parsing

CHUNK = 1000  # commands sent together


def open_slots(servers: ClusterServers, names: Names) -> None:
    """Opens all slots, unless some process has done so. Raises LOST, RedisError."""
    marker = names.presence("opened")
    home = servers.connect(servers.node("presence"))
    try:
        if home.ask("EXISTS", marker):
            return
        with parsing():
            seconds, microseconds = home.ask("TIME")
            begin = f"{int(seconds)}.{int(microseconds):06d}"
        for node, tags in servers.tags_by_node().items():
            wire = servers.connect(node)
            try:
                for at in range(0, len(tags), CHUNK):
                    chunk = tags[at : at + CHUNK]
                    wire.send([("HSETNX", names.order(tag), "begin", begin) for tag in chunk])
                    for _ in chunk:
                        wire.read()
            finally:
                wire.close()
        home.ask("SET", marker, begin)
    finally:
        home.close()
