"""Checks, before a server elsewhere is put under load, that two addresses are the two lines of one server."""

from __future__ import annotations

import contextlib
import socket

from rplx.errors import RplxError, UsageError
from rplx.options.checks import address, parse_address, unix_path

UNIX = "unix:"  # what an address begins with that is the path of a socket
TIMEOUT = 5.0  # seconds for one answer


class NotRealplexor(RplxError):
    """An address did not answer as the line that it was given for."""


def resolved(option: str, text: str) -> str:
    """Returns HOST:PORT with the host's IPv4 address, which the C client needs, or unix:/PATH. Raises UsageError."""
    if text.startswith(UNIX):
        if problem := address(text):
            raise UsageError(f"{option} {problem}")
        return text
    try:
        host, port = parse_address(text)
        found = socket.getaddrinfo(host or "127.0.0.1", port, socket.AF_INET, socket.SOCK_STREAM)
    except (ValueError, OSError) as error:
        raise UsageError(f"{option} {text}: no IPv4 HOST:PORT ({error})") from error
    return f"{found[0][4][0]}:{port}"


def check(wait: str, in_: str, channel: str) -> None:
    """Sends one message to `channel` on IN and polls for it on WAIT. Raises NotRealplexor."""
    send = f'POST / HTTP/1.1\r\nHost: x\r\nX-Realplexor: identifier={channel}\r\nContent-Length: 7\r\n\r\n"probe"'
    answer = _ask("--in", in_, send)
    if answer and not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
        raise NotRealplexor(f"--in {in_} does not take a message: {_first_line(answer)}")
    if b"\r\n\r\n" in answer and channel.encode() not in answer:
        raise NotRealplexor(f"--in {in_} answers, but not with a receipt: is it the IN line?")
    poll = f"GET /?identifier=0:{channel} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = _ask("--target", wait, poll)
    if b'"probe"' not in answer:
        raise NotRealplexor(
            f"--target {wait} does not give the message that --in {in_} took: {_first_line(answer) or 'no answer'}"
        )


def _ask(option: str, place: str, request: str) -> bytes:
    """Returns all that comes back. Raises NotRealplexor."""
    answer = b""
    try:
        with _connected(place) as connection:
            connection.sendall(request.encode())
            if option == "--in":
                connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                while data := connection.recv(65536):
                    answer += data
    except OSError as error:
        raise NotRealplexor(f"{option} {place}: {error.strerror or error}") from error
    return answer


def _connected(place: str) -> socket.socket:
    """Returns a connection to HOST:PORT or unix:/PATH. Raises OSError."""
    path = unix_path(place)
    if path is None:
        return socket.create_connection(parse_address(place), TIMEOUT)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(TIMEOUT)
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def _first_line(answer: bytes) -> str:
    return answer.partition(b"\r\n")[0].decode("latin-1")[:80]
