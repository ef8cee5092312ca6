"""What stands around rplx on the pages: a browser, nginx. Each is the real one."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from tests.pages.blocks import ROOT
from tests.pages.newcomer import Newcomer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HAS_NODE = shutil.which("node") is not None and (ROOT / "js/node_modules/playwright-core").exists()
HAS_BROWSER = bool(CHROMIUM and HAS_NODE) or bool(os.environ.get("CI"))
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:{SBIN}")

NGINX_FILE = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    {inside}
  }}
}}
"""


def open_page(newcomer: Newcomer, html: str, port: int, before: str = "") -> Path:
    """A page with this HTML at this port of 127.0.0.1, in Chromium; `before` is a script that runs first."""
    file = newcomer.folder / "page.html"
    script = f"<script>{before}</script>\n" if before else ""
    file.write_text(f"<!DOCTYPE html>\n<title>page</title>\n{script}{newcomer.here(html)}")
    command = ["node", str(ROOT / "tests/pages/browser.mjs"), str(file), str(port), str(CHROMIUM)]
    newcomer.place(port, port)
    return newcomer.start(shlex.join(command), port)


def nginx(newcomer: Newcomer, port: int, inside: str) -> Path:
    """nginx with these directives in its server, at this port of 127.0.0.1; gives its log."""
    file = newcomer.folder / "nginx.conf"
    file.write_text(NGINX_FILE.format(folder=newcomer.folder, port=port, inside=newcomer.here(inside)))
    newcomer.place(port, port)
    log = newcomer.folder / "nginx.log"
    return newcomer.start(shlex.join([str(NGINX), "-e", str(log), "-c", str(file)]), port)
