"""The names of keys and topics in Redis."""

from __future__ import annotations


class Names:
    """The names below one prefix. In a cluster the text in braces decides about the slot; elsewhere it does no harm."""

    def __init__(self, prefix: str, database: int) -> None:
        self._prefix = prefix
        # Topics are common to all databases, so each database has names of its own.
        self._topics = f"{prefix}/{database}:{{".encode()

    def order(self, tag: str) -> str:
        """Returns the key of the order of cursors of a tag."""
        return f"{self._prefix}:{{{tag}}}:order"

    def mark(self, tag: str, message_id: bytes) -> str:
        """Returns the key that marks a message which was sent to Redis twice."""
        return f"{self._prefix}:{{{tag}}}:sent:{message_id.decode()}"

    def history(self, id: str) -> str:
        """Returns the key of a channel's messages."""
        return f"{self._prefix}:{{{id}}}:history"

    def facts(self, id: str) -> str:
        """Returns the key of what is known of a channel beside its messages."""
        return f"{self._prefix}:{{{id}}}:facts"

    def topic(self, id: str) -> bytes:
        """Returns the topic of pub/sub where a channel's messages are announced."""
        return b"%b%b}" % (self._topics, id.encode())

    @property
    def topic_of_all(self) -> bytes:
        """The topic where a message to many channels is announced once. It is no channel's, as no id is empty."""
        return self.topic("")

    def id_of(self, topic: bytes) -> str:
        """Returns the channel of a topic."""
        return topic[len(self._topics) : -1].decode()

    def presence(self, what: str) -> str:
        """Returns the key of a part of presence."""
        return f"{self._prefix}:{{presence}}:{what}"

    @property
    def all_histories(self) -> str:
        """A pattern of the keys of all histories, for SCAN."""
        return f"{self._prefix}:{{*}}:history"

    def id_of_history(self, key: bytes) -> str:
        """Returns the channel of the key of a history."""
        return key.decode()[len(self._prefix) + 2 : -len("}:history")]
