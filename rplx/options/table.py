"""Every option once: name, type, default, help, limits, whether a reload applies it, its key in old Perl files.

Files, environment, flags, `--help`, the reference page and conf/rplx.toml come from these tables.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from rplx.options import checks

NEVER = 1e9  # seconds; stands for "no timeout" where an option says that 0 means this
SHORTEST = 0.01  # seconds: a timeout of less would end every connection at once


def option(
    default: Any,
    help: str,
    *,
    legacy: str = "",
    reload: bool = True,
    at_least: float = 0,
    at_most: float | None = None,
    check: checks.Check | None = None,
    is_table: bool = False,
    example: Any = None,
) -> Any:
    """Returns a dataclass field that describes one option.

    `legacy` is the option's key in old Perl configuration files ("" where there is none), `reload` says whether a
    SIGHUP applies a new value to the running server. `at_least` and `at_most` bound a number; `check` judges a text,
    or each item of a list; with `is_table` a list of NAME=VALUE may be written as a table. `example` is the value that
    conf/rplx.toml sets, None where it leaves the default.
    """
    metadata = {
        "help": help,
        "legacy": legacy,
        "reload": reload,
        "at_least": at_least,
        "at_most": at_most,
        "check": check,
        "is_table": is_table,
        "example": example,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class ServerOptions:
    """The server process."""

    user: str = option(
        "", "user to run as once the ports are open, when started as root", legacy="SU_USER", reload=False
    )
    max_mem_mb: float = option(
        0.0, "restart a server process that uses more than this many MB of memory; 0: never", legacy="MAX_MEM_MB"
    )
    drain: float = option(8.0, "seconds over which waiting polls are answered at the end, which comes a second later")
    workers: int = option(
        1, "server processes; more than one needs an engine.url that they share", reload=False, at_least=1
    )
    socket_mode: str = option(
        "0660", "access rights of the sockets at unix:/PATH", reload=False, check=checks.socket_mode
    )
    title: str = option("rplx", "name of the process in ps", reload=False, check=checks.not_empty)


@dataclass(frozen=True)
class WaitOptions:
    """The WAIT line, where browsers wait."""

    listen: tuple[str, ...] = option(
        ("0.0.0.0:8088",),
        "addresses at which browsers connect: HOST:PORT, [::]:PORT, unix:/PATH, fd:NAME or fd:NUMBER",
        legacy="WAIT_ADDR",
        reload=False,
        check=checks.address,
    )
    timeout: float = option(
        55.0,
        "seconds after which a poll that got no message is ended, or before if it asks for that; 0: never",
        legacy="WAIT_TIMEOUT",
    )
    maxlen: int = option(
        5120,
        "bytes within which the channel list of a plain text request, or of an HTTP head, must be complete",
        legacy="WAIT_MAXLEN",
        at_least=1,
    )
    head_max: int = option(16384, "bytes of an HTTP request's head; longer ones are refused (431)", at_least=1)
    head_timeout: float = option(
        10.0,
        "seconds within which a whole request must arrive, from its first byte; later bytes do not extend it",
        at_least=SHORTEST,
    )
    body_max: int = option(
        65536, "bytes of a poll's POST body; longer ones are refused (413); never less than wait.maxlen", at_least=1
    )
    max_ids: int = option(500, "channels that one poll may name; more are refused (413)", at_least=1)
    id_max: int = option(128, "characters of a channel id, on both lines; longer ones are refused (400)", at_least=1)
    keepalive_timeout: float = option(
        75.0, "seconds that a kept connection may stay idle between two polls", at_least=SHORTEST
    )
    write_timeout: float = option(
        10.0, "seconds after which a listener that reads nothing of its answer is dropped", at_least=SHORTEST
    )
    heartbeat: int = option(
        25,
        "seconds between two heartbeats of an event stream: fewer than proxies on the way wait for a byte",
        at_least=1,
    )
    out_max: int = option(
        1048576,
        "bytes of one answer, so at most this much waits for a slow listener; further messages come with the next poll;"
        " a single longer message is sent whole",
        at_least=1,
    )
    unsent_max: int = option(
        268435456,
        "bytes of all answers that wait for slow listeners, an answer to many counted once; beyond this the listeners"
        " that have waited longest are dropped, and get their messages with their next poll",
        at_least=1,
    )
    extra_max: int = option(4096, "bytes that a waiting listener may send; more ends its connection")
    max_connections: int = option(
        0, "connections in all; further ones are refused (503); 0: as many as there are file descriptors"
    )
    max_connections_per_address: int = option(
        0, "connections from one address (of IPv6: one /64); further ones are refused (503); 0: no limit"
    )
    trusted_proxies: tuple[str, ...] = option(
        (),
        'addresses and networks of proxies, such as "127.0.0.1" or "10.0.0.0/8", and "unix" for UNIX sockets: their'
        " X-Forwarded-For and Forwarded name the client, for the log and for limits by address; nobody else's do",
        check=checks.proxy,
    )
    proxy_protocol: bool = option(
        False,
        "each connection begins with a header of the PROXY protocol (version 1 or 2), which names the client instead;"
        " others are closed, and so are all but those of wait.trusted_proxies where that names any (for `rplx health`"
        " add 127.0.0.1 there)",
    )
    allowed_origins: tuple[str, ...] = option(
        (),
        'origins whose pages may poll across sites, such as "https://example.com"; "https://*.example.com" for all'
        ' names below example.com; "*" for all, without credentials',
        check=checks.origin,
    )
    same_site: bool = option(
        False,
        "let pages of the same site poll: of this host at any port, of its parent domains and subdomains (SECURITY.md)",
    )
    websocket_deflate: bool = option(
        False,
        "compress messages to WebSockets whose clients take that (permessage-deflate), from 256 bytes on, each once for"
        " all; it costs the server's time, and saves bytes on the way",
    )
    charset: str = option("utf-8", "charset in the Content-Type of answers", legacy="CHARSET", check=checks.charset)


@dataclass(frozen=True)
class InOptions:
    """The IN line, where back-ends send."""

    listen: tuple[str, ...] = option(
        ("127.0.0.1:10010",),
        "addresses at which back-ends connect: HOST:PORT, [::]:PORT, unix:/PATH, fd:NAME or fd:NUMBER",
        legacy="IN_ADDR",
        reload=False,
        check=checks.address,
    )
    timeout: float = option(
        20.0, "seconds without a byte after which a connection is closed", legacy="IN_TIMEOUT", at_least=SHORTEST
    )
    maxlen: int = option(204800, "bytes of one request; longer ones are refused (413)", legacy="IN_MAXLEN", at_least=1)
    max_connections: int = option(
        1000, "connections at the same time; further ones wait in the kernel's queue", reload=False, at_least=1
    )
    max_ids: int = option(10_000, "channels that one message may be sent to; more are refused (413)", at_least=1)
    max_online: int = option(
        1_000_000, "ids in one answer to ONLINE; a longer one is refused (413): ask by prefix", at_least=1
    )
    check_json: bool = option(True, "refuse messages that are not strict JSON")
    hosts: tuple[str, ...] = option(
        (),
        'names that a Host header may have, without ports, such as "localhost"; others are refused (403), which keeps '
        "out browsers that a forged name leads to this machine (DNS rebinding); empty: any name",
        check=checks.host,
    )
    guests_loopback_only: bool = option(True, "without a users file, only programs on this machine may publish")


@dataclass(frozen=True)
class HistoryOptions:
    """The messages that channels keep."""

    max_messages: int = option(30, "messages kept in each channel", legacy="MAX_DATA_FOR_ID", at_least=1)
    expire_after: float = option(
        3600.0, "seconds without a new message after which a channel's messages are removed", legacy="CLEAN_ID_AFTER"
    )
    max_channels: int = option(
        1_000_000, "channels with history; a message to a further one is refused (507)", at_least=1
    )
    max_bytes: int = option(1 << 30, "bytes of history in all; a message beyond them is refused (507)", at_least=1)


@dataclass(frozen=True)
class PresenceOptions:
    """Who is online, and what WATCH remembers."""

    offline_timeout: float = option(
        30.0, "seconds that a channel stays online after its last listener left", legacy="OFFLINE_TIMEOUT"
    )
    max_in_grace: int = option(
        1_000_000, "channels that stay online without a listener; beyond this those left longest ago go offline early"
    )
    max_in_grace_per_address: int = option(
        200_000,
        "the same for channels that one address (of IPv6: one /64) left; beyond this its own go offline early; 0: no"
        " limit (SECURITY.md)",
    )
    event_chain_len: int = option(
        1000,
        "online and offline events in a block of what WATCH remembers; three blocks are kept",
        legacy="EVENT_CHAIN_LEN",
        at_least=1,
    )


@dataclass(frozen=True)
class UsersOptions:
    """Who may send."""

    file: str = option(
        "",
        "file of logins and password hashes, as htpasswd or crypt(3) writes them; empty: there are only guests",
        legacy="USERS_FILE",
    )
    may_send: tuple[str, ...] = option(
        (),
        'channels that logins may send to beside those that begin with LOGIN_: "LOGIN=PREFIX", several of them for'
        " several prefixes; with an empty PREFIX all",
        check=checks.login_prefix,
    )
    may_ask: tuple[str, ...] = option(
        (),
        "the same for what logins may ask about by ONLINE and WATCH",
        check=checks.login_prefix,
    )
    max_failures: int = option(
        10,
        "failed tries a minute for one login from one address (of IPv6: one /64; all unknown logins count as one);"
        " further ones are refused (429); 0: no limit",
    )


@dataclass(frozen=True)
class GrantsOptions:
    """Who may listen, by signed grants (docs/protocol.md, part 12)."""

    keys: tuple[str, ...] = option(
        (),
        'keys that sign grants, "KID=env:VARIABLE" or "KID=file:/PATH", also as a table { KID = "env:VARIABLE" };'
        " several for a rotation; a secret of 32 bytes at least is for HS256, a PEM's public key for RS256, ES256 or"
        " EdDSA; needs rplx[grants]",
        check=checks.grant_key,
        is_table=True,
    )
    cookie: str = option("", "name of the cookie that has a grant; empty: none is looked at", check=checks.cookie_name)
    in_url: bool = option(False, "take grants from the address, too, as grant=TOKEN: other servers may log those")
    max_bytes: int = option(8192, "bytes of a grant; longer ones are refused (401)", at_least=1)
    max_remembered: int = option(
        10_000, "grants that are remembered once they were verified; the oldest are forgotten first", at_least=1
    )
    remember: float = option(
        60.0, "seconds for which the answer of an application's may_listen counts", at_least=SHORTEST
    )


@dataclass(frozen=True)
class ChannelRule:
    """What holds for channels whose ids begin with a prefix; of several rules that fit the longest counts."""

    prefix: str = option("", "with what the ids begin; empty: all channels", check=checks.prefix, example="user_")
    access: str = option(
        "public",
        "who may listen: public (everybody) or grant (who has a grant for it)",
        check=checks.access,
        example="grant",
    )


@dataclass(frozen=True)
class PagesOptions:
    """The word for channel lists in requests, and the pages for old clients."""

    identifier: str = option(
        "identifier",
        'the word before = in a channel list, as in "identifier=a,b"',
        legacy="IDENTIFIER",
        reload=False,
        check=checks.marker_word,
    )
    iframe_id: str = option(
        "IFRAME",
        "channel id that is answered with the page for old clients",
        legacy="IFRAME_ID",
        check=checks.channel_id,
    )
    iframe_file: str = option("", "file with that page; empty: the one that comes with rplx", legacy="IFRAME_FILE")
    script_id: str = option(
        "SCRIPT", "channel id that is answered with the JavaScript client", legacy="SCRIPT_ID", check=checks.channel_id
    )
    script_file: str = option("", "file with that script; empty: the one that comes with rplx", legacy="SCRIPT_FILE")


@dataclass(frozen=True)
class JsOptions:
    """Settings of the page for old clients."""

    max_bounces: int = option(10, "empty answers in a row before the page's client slows down", legacy="JS_MAX_BOUNCES")
    wait_reconnect_delay: float = option(
        0.01, "seconds between an answer and the next poll of the page's client", legacy="JS_WAIT_RECONNECT_DELAY"
    )
    wait_uri: str = option("/", "path that the page's client polls", legacy="JS_WAIT_URI", check=checks.uri_path)
    debug: int = option(1, "1: the page's client logs to the console", legacy="JS_DEBUG")


@dataclass(frozen=True)
class LogOptions:
    """The log."""

    verbosity: int = option(
        1, "0: nothing, 1: messages, 2: also the time, 3: also a line of counters", legacy="VERBOSITY", at_most=3
    )
    connections: bool = option(False, "log each connection, request and delivery, as the old server did")


@dataclass(frozen=True)
class HooksOptions:
    """Your own Python functions."""

    check_visibility: str = option(
        "",
        "Python function module:name(channel_id, listener_ids, cursor, data) that may hide a message from a listener",
        legacy="HOOK_CHECK_VISIBILITY",
        check=checks.hook,
    )


@dataclass(frozen=True)
class EngineOptions:
    """Where history and presence are kept."""

    url: str = option(
        "memory:",
        "where history and presence are kept: memory: (lost when the process ends), sqlite:///PATH (a file on disk; an"
        " absolute path has a slash of its own: sqlite:////var/lib/rplx/history.db) or redis://HOST:PORT/0 (several"
        " processes and machines)",
        reload=False,
        check=checks.engine_url,
        example="sqlite:////var/lib/rplx/history.db",
    )
    sync: str = option(
        "always",
        "what an acknowledged message outlives in a file: always (also a power cut) or process (the end of the process,"
        " in whatever way, but not of the machine; faster)",
        reload=False,
        check=checks.sync,
    )


@dataclass(frozen=True)
class DemoOptions:
    """The sandbox page."""

    enabled: bool = option(False, "serve the sandbox page at /; it lets anybody publish", reload=False)


@dataclass(frozen=True)
class Config:
    """All options, a section each. Frozen: a reload makes a new one."""

    server: ServerOptions = ServerOptions()
    wait: WaitOptions = WaitOptions()
    in_: InOptions = InOptions()  # the section is called "in" in files and flags
    history: HistoryOptions = HistoryOptions()
    presence: PresenceOptions = PresenceOptions()
    users: UsersOptions = UsersOptions()
    grants: GrantsOptions = GrantsOptions()
    pages: PagesOptions = PagesOptions()
    js: JsOptions = JsOptions()
    log: LogOptions = LogOptions()
    hooks: HooksOptions = HooksOptions()
    engine: EngineOptions = EngineOptions()
    demo: DemoOptions = DemoOptions()
    channels: tuple[ChannelRule, ...] = ()  # [[channels]]
