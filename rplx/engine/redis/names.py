"""The names of keys and topics in Redis."""

from __future__ import annotations


class Names:
    """In a cluster what stands in braces decides about the slot; elsewhere it does no harm."""

    def __init__(self, prefix: str, database: int) -> None:
        self._prefix = prefix
        # Topics do not know databases, so each has its own.
        self._topics = f"{prefix}/{database}:{{".encode()

    def order(self, tag: str) -> str:
        return f"{self._prefix}:{{{tag}}}:order"

    def mark(self, tag: str, message_id: bytes) -> str:
        """Of a message that was sent to Redis twice."""
        return f"{self._prefix}:{{{tag}}}:sent:{message_id.decode()}"

    def history(self, id: str) -> str:
        return f"{self._prefix}:{{{id}}}:history"

    def facts(self, id: str) -> str:
        return f"{self._prefix}:{{{id}}}:facts"

    def topic(self, id: str) -> bytes:
        return b"%b%b}" % (self._topics, id.encode())

    @property
    def topic_of_all(self) -> bytes:
        """Where what goes to many channels is announced, once. No channel has it, as no id is empty."""
        return self.topic("")

    def id_of(self, topic: bytes) -> str:
        return topic[len(self._topics) : -1].decode()

    def presence(self, what: str) -> str:
        return f"{self._prefix}:{{presence}}:{what}"

    @property
    def all_histories(self) -> str:
        """A pattern for SCAN."""
        return f"{self._prefix}:{{*}}:history"

    def id_of_history(self, key: bytes) -> str:
        return key.decode()[len(self._prefix) + 2 : -len("}:history")]
