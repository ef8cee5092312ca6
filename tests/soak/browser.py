"""A real Chromium with tabs that can be opened and closed, and the page in them that tells what it hears."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, quote, urlsplit

from tests.waiting import eventually

START_TIMEOUT = 60.0  # seconds
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--ignore-certificate-errors",
    "--remote-debugging-port=0",
)

# As a site has it: the served script, and a client that is left to its defaults.
_PAGE = """<!DOCTYPE html><title>A site</title>
<script src="%(wait)s?identifier=SCRIPT"></script>
<script>
  let order = 0;
  const tell = (kind, more) => fetch('/tell', {
    method: 'POST', body: JSON.stringify({ id: '%(id)s', order: order++, at: Date.now() / 1000, kind, ...more }),
  });
  const client = new Realplexor('%(wait)s');
  client.on('gap', () => tell('gap'));
  client.on('disconnected', ({ reason }) => tell('disconnected', { reason }));
  client.on('error', ({ error }) => tell('error', { reason: String(error) }));
  client.on('stalled', () => tell('stalled'));
  client.subscribe('%(id)s', (data) => tell('message', { data }));
  client.ready.then(() => tell('ready', { visibility: document.visibilityState }));
</script>
"""


class Site:
    """A site whose page `/?id=ID&wait=URL` listens to a channel and tells `heard` what happens, as a dict."""

    def __init__(self, heard: Callable[[dict[str, Any]], None]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                asked = parse_qs(urlsplit(self.path).query)
                page = _PAGE % {"id": asked["id"][0], "wait": asked["wait"][0]} if "id" in asked else ""
                self._answer(page.encode())

            def do_POST(self) -> None:
                heard(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self._answer(b"")

            def _answer(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                with contextlib.suppress(ConnectionError):  # a tab is closed while it tells
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def page(self, id: str, wait: str) -> str:
        """Returns the address of a page that listens to `id` at the WAIT line `wait`."""
        return f"{self.origin}/?id={quote(id)}&wait={quote(wait, safe='')}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Chromium:
    """A running browser. Raises AssertionError if it is not installed or does not start."""

    def __init__(self) -> None:
        program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
        assert program, "chromium is not installed"
        self._folder = Path(tempfile.mkdtemp(prefix="rplx-chromium-"))
        self._process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={self._folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        told = self._folder / "DevToolsActivePort"
        try:
            eventually(lambda: told.exists() and "\n" in told.read_text(), True, START_TIMEOUT)
        except BaseException:
            self.stop()
            raise
        self._port = int(told.read_text().partition("\n")[0])

    def open(self, url: str) -> str:
        """Opens a tab; returns its name."""
        return str(json.loads(self._ask("PUT", f"/json/new?{quote(url, safe=':/')}"))["id"])

    def close(self, tab: str) -> None:
        self._ask("GET", f"/json/close/{tab}")

    def _ask(self, method: str, target: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=START_TIMEOUT)
        connection.request(method, target)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        assert answer.status == 200, text
        return text

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
