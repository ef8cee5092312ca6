"""Whether the IN line can be reached where the WAIT line is: it is for back-ends alone."""

from __future__ import annotations

import http.client
import ipaddress
import socket

from rplx.cli.doctor.asking import NotAsked, Place, ask
from rplx.cli.doctor.findings import Finding, note, untested, well, wrong

CHECK = "IN from outside"
TIMEOUT = 3.0  # seconds; a firewall that drops answers nothing
DEFAULT_PORT = 10010
_QUESTION = b"WATCH\n"  # is answered with a position (protocol page, part 3) and changes nothing
_REFUSAL = b"access denied"


def check(place: Place, ports: list[int]) -> Finding:
    """Returns what is found at these ports of the WAIT line's host."""
    if place.socket:
        return untested(CHECK, f"{place.url} is of this machine alone; ask for the address that browsers use")
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except OSError as error:
        return untested(CHECK, str(error))
    address = ipaddress.ip_address(str(found[0][4][0]).partition("%")[0])
    if address.is_loopback:
        return untested(CHECK, f"{place.host} is this machine itself; ask for the address that browsers use")
    return judged(place.host, [port for port in ports if is_in_line(place.host, port)], public=address.is_global)


def judged(host: str, open_ports: list[int], *, public: bool) -> Finding:
    """Returns what it means that IN answers at these ports of a host; `public`: its address is one of the internet."""
    if not open_ports:
        return well(CHECK, f"{host} does not show an IN line")
    where = ", ".join(f"{host}:{port}" for port in open_ports)
    if public:
        return wrong(CHECK, f"anybody may send and read at {where}: in.listen must not be an address of the internet")
    return note(
        CHECK, f"IN answers at {where}: every machine that reaches it may send; in.listen says where it listens"
    )


def is_in_line(host: str, port: int) -> bool:
    """Returns whether an IN line answers there, be it by refusing who has no login."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        answer = ask(connection, "/", "POST", _QUESTION)
    except NotAsked:
        return False
    finally:
        connection.close()
    return answer.body.startswith(b"FAKE ") or _REFUSAL in answer.body
