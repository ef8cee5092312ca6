"""The file's tables, and what says that it is one of ours.

messages  a row for each message that a channel still has. `seq` is the order in which they were stored; `drawn` is the
          greatest cursor that was drawn until then, in microseconds since the epoch. `channels` has its ids, separated
          by commas, with =CURSOR behind those whose cursor is not `drawn`; `limiters` ids likewise, or NULL.
dropped   channels that no longer have a message which others still have.
floors    the floor of each channel where one is known; `emptied`: seconds since the epoch if it has no messages.
events    the newest changes of presence, for WATCH; online: who was online after the last of them.
facts     "beginning": the floor of all channels that are not in floors; "clock": as `drawn`, for positions that were
          given to listeners.
"""

from __future__ import annotations

APPLICATION_ID = 0x52504C58  # "RPLX", at byte 68 of the file (sqlite.org/fileformat.html, 1.3)
VERSION = 1  # PRAGMA user_version

TABLES = """
CREATE TABLE messages (seq INTEGER PRIMARY KEY, drawn INTEGER NOT NULL, channels TEXT NOT NULL, data BLOB NOT NULL,
    limiters TEXT);
CREATE TABLE dropped (seq INTEGER, channel TEXT, PRIMARY KEY (seq, channel)) WITHOUT ROWID;
CREATE TABLE floors (channel TEXT PRIMARY KEY, floor TEXT NOT NULL, emptied INTEGER) WITHOUT ROWID;
CREATE TABLE events (position INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL);
CREATE TABLE online (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""
BEGINNING, CLOCK = "beginning", "clock"


def channels_text(cursors: dict[str, str], drawn: str) -> str:
    """Returns a message's channels as its row has them. `drawn`: the text of the row's `drawn`."""
    return ",".join([id if cursor == drawn else f"{id}={cursor}" for id, cursor in cursors.items()])


def cursors_of(channels: str, drawn: str) -> dict[str, str]:
    """Returns a message's cursors from its row; see channels_text."""
    if "=" not in channels:
        return dict.fromkeys(channels.split(","), drawn)
    pairs = [item.partition("=") for item in channels.split(",")]
    return {id: cursor or drawn for id, _, cursor in pairs}
