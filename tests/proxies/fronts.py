"""The real servers of docs/proxies.md in front of a live rplx, with the page's blocks or with other configurations."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.redis_server import free_port
from tests.waiting import accepts, eventually

PAGE = Path(__file__).resolve().parent.parent.parent / "docs/proxies.md"
START_TIMEOUT = 120.0  # seconds; Varnish compiles its configuration first
STOP_TIMEOUT = 0.5  # seconds for a goodbye
STARTS_MAX = 5  # tries, as another process may take the port first
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"

Address = tuple[str, int]


class Kind(NamedTuple):
    """A server that stands in front: its program, what goes around a configuration, and how it is started."""

    program: str
    around: str
    arguments: tuple[str, ...]


_APACHE_MODULES = ("mpm_event", "authz_core", "proxy", "proxy_http", "setenvif", "filter", "deflate", "headers", "env")
_APACHE = """
ServerRoot {folder}
ServerName localhost
User nobody
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
DefaultRuntimeDir {folder}
Listen 127.0.0.1:{port}
""" + "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in _APACHE_MODULES)
_NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
{text}
}}
"""
KINDS = {
    "nginx": Kind("nginx", _NGINX, ("-e", "{folder}/error.log", "-c", "{file}")),
    "haproxy": Kind("haproxy", "{text}", ("-db", "-f", "{file}")),
    "apache": Kind("apache2", _APACHE + "{text}", ("-DFOREGROUND", "-f", "{file}")),
    "caddy": Kind("caddy", "{{\nadmin off\n}}\n{text}", ("run", "--config", "{file}", "--adapter", "caddyfile")),
    "varnish": Kind(
        "varnishd", "{text}", ("-F", "-j", "none", "-n", "{folder}/varnish", "-a", "127.0.0.1:{port}", "-f", "{file}")
    ),
}


class Block(NamedTuple):
    """A block of the page: the kind of server that it is for, and what it says."""

    kind: str
    text: str
    tls: bool
    arguments: tuple[str, ...] = ()


def page_blocks() -> dict[str, Block]:
    """Returns the configurations on the page, by the headings that they stand under."""
    kinds = {"nginx": "nginx", "haproxy": "haproxy", "apache": "apache", "caddy": "caddy", "vcl": "varnish"}
    found = {}
    for heading, section in re.findall(r"(?ms)^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE.read_text()):
        block = re.search(r"(?ms)^```(\w+)\n(.*?)^```$", section)
        if block and block[1] in kinds:
            given = re.search(r"`varnishd .*?(-p [^`]*)`", section)
            arguments = tuple(given[1].split()) if given else ()
            found[heading] = Block(kinds[block[1]], block[2], "ssl" in block[2], arguments)
    return found


# What stands on the page for this side's port, and what it becomes.
_LISTENS = (
    (r"listen (?:80|443)(?=[ ;])", "listen 127.0.0.1:{port}"),
    (r"bind :(?:80|443)\b", "bind 127.0.0.1:{port}"),
    (r"\*:80>", "127.0.0.1:{port}>"),
    (r"(?m)^:80 \{", "http://127.0.0.1:{port} {{"),
    (r"/etc/ssl/site\.", "{certificates}/site."),
    (r"/etc/haproxy/site\.pem", "{certificates}/both.pem"),
)


def filled(text: str, port: int, server: Address, certificates: Path | None) -> str:
    """Returns a configuration with this test's ports and folder of certificates."""
    for pattern, place in _LISTENS:
        text = re.sub(pattern, place.format(port=port, certificates=certificates), text)
    return re.sub(r'(127\.0\.0\.1:|\.port = ")8088\b', rf"\g<1>{server[1]}", text)


class Front:
    """A running server in front: where it listens, and whether it speaks TLS."""

    def __init__(self, block: Block, folder: Path, server: Address, certificates: Path | None = None) -> None:
        self.tls = block.tls
        for _ in range(STARTS_MAX):
            self._start(block, folder, server, certificates)
            if self.process.poll() is None:
                return
            if not re.search(r"(?i)address already in use", self._log.read_text()):
                break
        raise AssertionError(self._log.read_text())

    def _start(self, block: Block, folder: Path, server: Address, certificates: Path | None) -> None:
        """Starts it on a port that was free a moment ago, and returns when it listens or has ended."""
        kind = KINDS[block.kind]
        self.address: Address = ("127.0.0.1", free_port())
        text = filled(block.text, self.address[1], server, certificates)
        places = {"folder": folder, "port": self.address[1], "file": folder / "front.conf"}
        places["file"].write_text(kind.around.format(text=text, **places))
        command = [_program(kind.program), *(word.format(**places) for word in kind.arguments), *block.arguments]
        self._log = folder / "output.log"
        with self._log.open("wb") as log:
            environ = {**os.environ, "HOME": str(folder), "PATH": f"{os.environ.get('PATH', '')}:{SBIN}"}
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=environ, start_new_session=True
            )
        ready = lambda: accepts(self.address) or self.process.poll() is not None  # noqa: E731
        eventually(ready, True, START_TIMEOUT, told=self._log.read_text)

    @property
    def url(self) -> str:
        """Returns the URL of its root."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.address[1]}/"

    def stop(self) -> None:
        """Ends it and the processes that it has started."""
        os.killpg(self.process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_TIMEOUT)
        with contextlib.suppress(ProcessLookupError):  # Apache and Caddy wait for those who are still served
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SBIN}")
    assert found, f"{name} is not installed"
    return found


@contextlib.contextmanager
def front(block: Block, folder: Path, server: Address, certificates: Path | None = None) -> Iterator[Front]:
    """Starts what the block says in front of `server`, with its files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    started = Front(block, folder, server, certificates)
    try:
        yield started
    finally:
        started.stop()


def certificate(folder: Path) -> Path:
    """Makes `site.pem` and `site.key` for 127.0.0.1 in `folder`, `both.pem` of both, and returns the folder."""
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -keyout site.key -out site.pem"
    names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run([*command.split(), *names], cwd=folder, check=True, capture_output=True)
    (folder / "both.pem").write_text((folder / "site.pem").read_text() + (folder / "site.key").read_text())
    return folder
