"""Real nginx and HAProxy in front of a live server, with connections to it that are kept; and their logs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.lines.wire import Wire
from tests.redis_server import free_port
from tests.waiting import accepts, eventually

START_TIMEOUT = 60.0
HASTY = "300ms"  # that the addresses for hostile requests wait for the rest of one

Address = tuple[str, int]

# What docs/proxies.md says, once for each line, and again with short timeouts.
NGINX = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log info;
events {{ worker_connections 512; }}
http {{
  log_format requests '$request_method $request_uri $upstream_status';
  access_log {directory}/requests.log requests;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  upstream wait {{ server {wait}; keepalive 4; }}
  upstream in {{ server {in_}; keepalive 4; }}
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_buffering off;
  proxy_read_timeout 320s;
  server {{ listen {patient_wait}; location / {{ proxy_pass http://wait; }} }}
  server {{ listen {patient_in}; location / {{ proxy_pass http://in; }} }}
  client_header_timeout {hasty};
  client_body_timeout {hasty};
  lingering_timeout {hasty};
  server {{ listen {hasty_wait}; location / {{ proxy_pass http://wait; }} }}
  server {{ listen {hasty_in}; location / {{ proxy_pass http://in; }} }}
}}
"""
# One thread: of two that log to standard output at the same moment, one may drop its line.
HAPROXY = """
global
  maxconn 512
  nbthread 1
  log stdout format raw local0
defaults
  mode http
  log global
  log-format "%HM %HU %s %ST"
  option abortonclose
  http-reuse always
  timeout connect 5s
  timeout client 320s
  timeout server 320s
listen patient_wait
  bind {patient_wait}
  server rplx {wait}
listen patient_in
  bind {patient_in}
  server rplx {in_}
defaults
  mode http
  log global
  log-format "%HM %HU %s %ST"
  option abortonclose
  http-reuse always
  timeout connect 5s
  timeout client {hasty}
  timeout http-request {hasty}
  timeout server 20s
listen hasty_wait
  bind {hasty_wait}
  server rplx {wait}
listen hasty_in
  bind {hasty_in}
  server rplx {in_}
"""

BOTH = ("nginx", "haproxy")
# In front of WAIT alone, and telling who the client is: what docs/proxies.md says of that.
NGINX_NAMING = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log info;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header Forwarded "";
  proxy_buffering off;
  server {{ listen {front}; location / {{ proxy_pass http://{wait}; }} }}
}}
"""
HAPROXY_NAMING = """
global
  maxconn 64
defaults
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen wait
  bind {front}
{how}
"""
HAPROXY_HOW = {
    "forwarded": "  mode http\n  option forwardfor\n  http-request del-header Forwarded\n  server rplx {wait}",
    "send-proxy": "  mode tcp\n  server rplx {wait} send-proxy",
    "send-proxy-v2": "  mode tcp\n  server rplx {wait} send-proxy-v2",
}


class Forwarded(NamedTuple):
    """A request that the proxy handed on, and the status that it got for it."""

    method: str
    target: str
    status: int


class Proxy:
    """A proxy's addresses by `patient_wait`, `patient_in`, `hasty_wait`, `hasty_in`."""

    def __init__(self, kind: str, directory: Path, wire: Wire) -> None:
        self.kind = kind
        self.addresses: dict[str, Address] = {
            f"{patience}_{line}": ("127.0.0.1", free_port())
            for patience in ("patient", "hasty")
            for line in ("wait", "in")
        }
        texts = {name: f"{host}:{port}" for name, (host, port) in self.addresses.items()}
        wait, in_ = (f"{host}:{port}" for host, port in (wire.wait, wire.in_))
        template = NGINX if kind == "nginx" else HAPROXY
        file = directory / f"{kind}.conf"
        file.write_text(template.format(directory=directory, wait=wait, in_=in_, hasty=HASTY, **texts))
        if kind == "nginx":
            command = [program("nginx"), "-p", str(directory), "-e", f"{directory}/error.log", "-c", str(file)]
        else:
            command = [program("haproxy"), "-db", "-f", str(file)]
        self._log = directory / "requests.log"  # HAProxy's is its output
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.DEVNULL)
        for address in self.addresses.values():
            self._await(address)

    def _await(self, address: Address) -> None:
        eventually(lambda: accepts(address) or self.process.poll() is not None, True, START_TIMEOUT)
        assert self.process.poll() is None, f"{self.kind} ended with {self.process.returncode}"

    def forwarded(self) -> list[Forwarded]:
        """What it has handed on so far, as its log says."""
        found = []
        for line in self._log.read_text(errors="replace").splitlines():
            method, _, rest = line.partition(" ")
            if self.kind == "nginx":
                target, _, status = rest.rpartition(" ")
                went = status.isdigit()
            else:
                target, server, status = rest.rsplit(" ", 2)
                went = server == "rplx"
            if went:
                found.append(Forwarded(method, target, int(status)))
        return found

    def stop(self) -> None:
        """Ends it; its log is whole then."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(START_TIMEOUT)


def program(name: str) -> str:
    """Where it is: Debian keeps both out of the PATH of users."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    assert found, f"{name} is not installed"
    return found


@contextlib.contextmanager
def proxy(kind: str, directory: Path, wire: Wire) -> Iterator[Proxy]:
    started = Proxy(kind, directory, wire)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
            started.process.wait()


class Front:
    """A proxy at `address` that tells who the client is, `how`: "forwarded", or as HAPROXY_HOW has it."""

    def __init__(self, kind: str, directory: Path, wait: Address, how: str) -> None:
        self.address: Address = ("127.0.0.1", free_port())
        front, behind = (f"{host}:{port}" for host, port in (self.address, wait))
        file = directory / f"{kind}.conf"
        if kind == "nginx":
            file.write_text(NGINX_NAMING.format(directory=directory, front=front, wait=behind))
            command = [program("nginx"), "-p", str(directory), "-e", f"{directory}/error.log", "-c", str(file)]
        else:
            file.write_text(HAPROXY_NAMING.format(front=front, how=HAPROXY_HOW[how].format(wait=behind)))
            command = [program("haproxy"), "-db", "-f", str(file)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(lambda: accepts(self.address) or self.process.poll() is not None, True, START_TIMEOUT)
        assert self.process.poll() is None, f"{kind} ended with {self.process.returncode}"


@contextlib.contextmanager
def in_front(kind: str, directory: Path, wait: Address, how: str) -> Iterator[Front]:
    started = Front(kind, directory, wait, how)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.wait()
