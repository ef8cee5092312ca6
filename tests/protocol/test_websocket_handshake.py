"""The handshake of WebSocket: what the RFCs say, and what another implementation answers to the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.protocol import State
from websockets.uri import parse_uri

from rplx.errors import BadRequest, UpgradeRequired
from rplx.protocol.deflate import accepted_offer
from rplx.protocol.websocket_handshake import Offer, accept, is_asked_for

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
BOTH = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
TWELVE = f"{BOTH}; server_max_window_bits=12"


@pytest.mark.parametrize(
    ("method", "upgrade", "connection", "asked"),
    [
        ("GET", "websocket", "Upgrade", True),
        ("GET", "WebSocket", "keep-alive, upgrade", True),
        ("GET", "h2c, websocket", "Upgrade", True),
        ("GET", "websocket", "keep-alive", False),
        ("GET", "websocket", "", False),
        ("GET", "h2c", "Upgrade", False),
        ("GET", "", "Upgrade", False),
        ("GET", "websockets", "Upgrade", False),
        ("POST", "websocket", "Upgrade", False),
    ],
)
def test_who_asks(method: str, upgrade: str, connection: str, asked: bool) -> None:
    assert is_asked_for(method, upgrade, connection) is asked


def test_the_example_of_the_rfc() -> None:
    """RFC 6455, 1.3."""
    accepted = accept(Offer(KEY, "13"), deflate=False)
    assert accepted.headers == (
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    )
    assert not accepted.deflate


@pytest.mark.parametrize("version", ["", "8", "12", "14", "013", "13, 8"])
def test_another_version_is_refused(version: str) -> None:
    with pytest.raises(UpgradeRequired):
        accept(Offer(KEY, version), deflate=False)


@pytest.mark.parametrize(
    "key", ["", "dGhl", "dGhlIHNhbXBsZSBub25jZQ", KEY[:-4] + "?Q==", KEY + KEY, "é" * 24, f"{KEY}, {KEY}"]
)
def test_a_wrong_key_is_refused(key: str) -> None:
    with pytest.raises(BadRequest):
        accept(Offer(key, "13"), deflate=False)


@pytest.mark.parametrize(
    ("protocols", "answered"),
    [("rplx.1", True), ("graphql-ws, rplx.1", True), ("rplx.2", False), ("", False), ("rplx.10,xrplx.1", False)],
)
def test_the_subprotocol(protocols: str, answered: bool) -> None:
    accepted = accept(Offer(KEY, "13", protocols), deflate=False)
    assert (("Sec-WebSocket-Protocol", "rplx.1") in accepted.headers) is answered


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        ("", None),
        ("x-webkit-deflate-frame", None),
        ("permessage-deflate", BOTH),
        ("permessage-deflate; client_max_window_bits", BOTH),
        ("permessage-deflate;client_max_window_bits=9 ; server_no_context_takeover", BOTH),
        ("permessage-deflate; server_max_window_bits=12; client_max_window_bits=12", TWELVE),
        ('permessage-deflate; server_max_window_bits="15"', TWELVE),
        ("permessage-deflate; server_max_window_bits=11", None),
        ("permessage-deflate; server_max_window_bits=10, permessage-deflate", BOTH),
        ("foo; bar=1, permessage-deflate", BOTH),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits=012", None),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; client_max_window_bits=", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", None),
        ("permessage-deflate; more", None),
        ("permessage-deflate;", None),
    ],
)
def test_the_offer_of_deflate(offers: str, answer: str | None) -> None:
    assert accepted_offer(offers) == answer


def test_deflate_is_off_unless_it_is_asked_for_on_both_sides() -> None:
    assert not accept(Offer(KEY, "13", extensions="permessage-deflate"), deflate=False).deflate
    assert not accept(Offer(KEY, "13"), deflate=True).deflate
    accepted = accept(Offer(KEY, "13", extensions="permessage-deflate"), deflate=True)
    assert accepted.deflate
    assert ("Sec-WebSocket-Extensions", BOTH) in accepted.headers


bits = st.one_of(st.none(), st.integers(9, 15))


@given(
    st.lists(st.builds(ClientPerMessageDeflateFactory, st.booleans(), st.booleans(), bits, bits), max_size=2),
    st.lists(st.sampled_from(["rplx.1", "other"]), unique=True),
    st.booleans(),
)
def test_another_implementation_takes_the_answer(
    extensions: list[ClientPerMessageDeflateFactory], protocols: list[str], deflate: bool
) -> None:
    client = ClientProtocol(
        parse_uri("ws://x.example/"),
        extensions=extensions,
        subprotocols=protocols or None,  # type: ignore[arg-type]
    )
    headers = client.connect().headers
    assert is_asked_for("GET", headers["Upgrade"], headers["Connection"])
    offer = Offer(
        headers["Sec-WebSocket-Key"],
        headers["Sec-WebSocket-Version"],
        headers.get("Sec-WebSocket-Protocol", ""),
        headers.get("Sec-WebSocket-Extensions", ""),
    )
    accepted = accept(offer, deflate=deflate)
    lines = "".join([f"{name}: {value}\r\n" for name, value in accepted.headers])
    client.receive_data(f"HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n".encode())
    assert client.handshake_exc is None
    assert client.state is State.OPEN
    assert bool(client.extensions) is accepted.deflate
    assert client.subprotocol == ("rplx.1" if "rplx.1" in protocols else None)
