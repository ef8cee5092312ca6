"""Typing the pages of the clients."""

from __future__ import annotations

import itertools
import os
import re
import shutil
from pathlib import Path

from tests.hosts.http import Client, ask, get, online, send
from tests.pages.blocks import Page
from tests.pages.inside import CURSOR
from tests.pages.newcomer import Newcomer, until
from tests.pages.surroundings import HAS_BROWSER, HAS_NODE, NGINX, nginx, open_page
from tests.redis_server import free_port

HAS_PHP = bool(shutil.which("php")) or bool(os.environ.get("CI"))
# A page whose site signs grants, in Node; the server that is asked here takes no notice of them.
GRANTED = """
import { Realplexor } from 'rplx';
const show = () => {}, showLogin = show, byNetwork = fetch;
globalThis.fetch = (url, ...given) => (url === '/grant' ? new Response('a.b.c') : byNetwork(url, ...given));
"""
HAS_COMPOSER = bool(shutil.which("composer")) or bool(os.environ.get("CI"))


def python(page: Page, newcomer: Newcomer) -> None:
    newcomer.install(page.next("sh", "python3 -m venv"))
    newcomer.start(page.next("sh", "rplx serve"), 8088)
    programs = page.all("python")
    newcomer.install_more(page.next("sh", "pip install"))
    awaited, *old = page.all("python")
    programs += old
    (follow,) = [program for program in programs if "client.follow()" in program]  # never ends
    printed = newcomer.python("".join([program for program in programs if program != follow]))
    assert printed.startswith("{'alpha': '")
    assert "\nhello {'beta': '" in printed
    assert re.fullmatch(r"hello \{'alpha': '\d+\.\d+'\}\n\{.*\}\n", newcomer.python(awaited))
    (newcomer.folder / "following.py").write_text(newcomer.here(programs[0] + follow))
    heard = newcomer.begin("python following.py")
    told_of_listeners(newcomer, heard, "", "online %s\n")
    newcomer.stop()
    newcomer.start("rplx serve", 8088)  # a server of its own, so that it answers what is shown
    command_line(page.next("console"), newcomer)


def command_line(shown: str, newcomer: Newcomer) -> None:
    """Each command prints what stands below it, but for the cursors."""
    for command, output in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", shown, re.MULTILINE):
        assert CURSOR.sub("CURSOR", newcomer.run(command)) == CURSOR.sub("CURSOR", output)


def told_of_listeners(newcomer: Newcomer, heard: Path, namespace: str, line: str) -> None:
    """One listener comes after the other, until what a watcher prints names one: it may have begun behind the first."""
    numbers = itertools.count()

    def told() -> bool:
        id = f"listener_{next(numbers)}"
        Client(newcomer.address(8088), get(f"/?identifier={namespace}{id}")).close()
        return line % "listener_" in re.sub(r"listener_\d+", "listener_", heard.read_text())

    until(told, heard)


def in_node(newcomer: Newcomer, script: str, before: str) -> str:
    (newcomer.folder / "typed.mjs").write_text(newcomer.here(f"{before}\n{script}"))
    return newcomer.run("node typed.mjs")


def install_by_npm(newcomer: Newcomer, command: str) -> None:
    """Installs in the newcomer's folder: where that has no package.json, npm looks for one in those above it."""
    (newcomer.folder / "package.json").write_text("{}\n")
    newcomer.run(command)


def npm(page: Page, newcomer: Newcomer) -> None:
    install, script, html = page.next("sh", "npm install"), page.next("js"), page.next("html")
    newcomer.install("python3 -m venv .venv && . .venv/bin/activate\npip install /path/to/rplx\n")
    site = free_port()
    newcomer.start("rplx serve", 8088, RPLX_WAIT_ALLOWED_ORIGINS=f"http://127.0.0.1:{site}")
    if HAS_NODE:
        install_by_npm(newcomer, install)
        in_node(newcomer, script, "const reload = () => {};")
    if HAS_BROWSER:
        page_hears(newcomer, html, site)


def streams(page: Page, newcomer: Newcomer) -> None:
    html, curl = page.next("html"), page.next("sh", "curl")
    newcomer.install("python3 -m venv .venv && . .venv/bin/activate\npip install /path/to/rplx\n")
    site = free_port()
    newcomer.start("rplx serve", 8088, RPLX_WAIT_ALLOWED_ORIGINS=f"http://127.0.0.1:{site}")
    printed = newcomer.begin(curl)
    until(lambda: "event: open" in printed.read_text(), printed)
    send(newcomer.address(10010), "news", b'"Hello"')
    until(lambda: '"data":"Hello"' in printed.read_text(), printed)
    if HAS_BROWSER:
        heard = open_page(newcomer, html, site, "const show = (ids, data) => console.log('heard ' + ids + data);")
        until(lambda: online(newcomer.address(10010)).get("chat_7") == 1, heard)
        send(newcomer.address(10010), "chat_7", b'"eggs"')
        until(lambda: "heard chat_7eggs" in heard.read_text(), heard)


def page_hears(newcomer: Newcomer, html: str, site: int) -> None:
    heard = open_page(newcomer, html, site, "const show = (data) => console.log('heard ' + data);")
    until(lambda: online(newcomer.address(10010)).get("shop_cart") == 1, heard)
    send(newcomer.address(10010), "shop_cart", b'"eggs"')
    until(lambda: "heard eggs" in heard.read_text(), heard)


def javascript(page: Page, newcomer: Newcomer) -> None:
    newcomer.install("python3 -m venv .venv && . .venv/bin/activate\npip install /path/to/rplx\n")
    install, script = page.next("sh"), page.next("js")
    serve, granted = page.next("sh", "rplx serve"), page.next("js")
    header, site = page.next("http"), page.next("nginx")
    newcomer.start(serve, 8088)
    if HAS_NODE:
        install_by_npm(newcomer, install)
        assert (newcomer.folder / "node_modules/rplx/dist/realplexor.min.mjs").exists()
        in_node(newcomer, script, "const show = () => {}, add = show;")
        in_node(newcomer, f"{granted}\nawait realplexor.ready;\nrealplexor.close();", GRANTED)
    origin = "https://www.example.com"
    answer = ask(newcomer.address(8088), get("/?identifier=a&position", f"Origin: {origin}"))
    assert answer.headers["access-control-allow-origin"] == origin
    frame = ask(newcomer.address(8088), get("/?identifier=IFRAME"))
    name, _, value = header.strip().partition(": ")
    assert frame.headers[name.lower()] == value
    if NGINX or os.environ.get("CI"):
        port = free_port()
        nginx(newcomer, port, site)
        assert ask(("127.0.0.1", port), get("/")).headers[name.lower()] == value


def php(page: Page, newcomer: Newcomer) -> None:
    require, *composer = page.next("php"), page.next("sh", "composer init"), page.next("sh", "composer config")
    send_, watch, listen, end_, old = [page.next("php") for _ in range(5)]
    example = page.next("sh", "RPLX_IN")
    if not HAS_PHP:
        return
    if HAS_COMPOSER:
        newcomer.run("\n".join([*composer, 'php -r \'require "vendor/autoload.php"; new Rplx\\Client("127.0.0.1");\'']))
    newcomer.install("python3 -m venv .venv && . .venv/bin/activate\npip install /path/to/rplx\n")
    newcomer.folder = newcomer.checkout.folder
    newcomer.start("rplx serve", 8088)
    first = send_.splitlines()[0]
    in_php(newcomer, require, send_)
    file = php_file(newcomer, require, first, watch)
    heard = newcomer.begin(f"php {file}")
    told_of_listeners(newcomer, heard, "shop_", "%s is online\n")
    listeners = [[listen], [first, end_.replace("unix:/run/rplx/wait.sock", "http://127.0.0.1:8088/")]]
    for channel, blocks in zip(("news", "shop_news"), listeners, strict=True):
        file = php_file(newcomer, require, *blocks)
        heard = newcomer.begin(f"php {file}")
        until(lambda channel=channel: online(newcomer.address(10010)).get(channel) == 1, heard)  # type: ignore[misc]
        if blocks == [listen]:
            send(newcomer.address(10010), channel, b'"Hello"')
            until(lambda heard=heard: '"Hello"' in heard.read_text(), heard)  # type: ignore[misc]
    newcomer.start(example, 8000)
    assert b"<form" in ask(newcomer.address(8000), get("/")).body
    newcomer.stop()
    users = newcomer.folder / "users"
    users.write_text("login:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")  # password
    newcomer.start("rplx serve", 8088, RPLX_USERS_FILE=str(users))
    in_php(newcomer, old)


def testing(page: Page, newcomer: Newcomer) -> None:
    install = page.next("sh", "python3 -m venv")
    newcomer.install(install)
    page.files(newcomer.folder, newcomer.here)
    assert "2 passed" in newcomer.run(page.next("sh", "pytest"))
    assert "Ran 2 tests" in newcomer.python(page.next("python", "import unittest"))
    php_test = page.next("php")
    if HAS_PHP:
        newcomer.folder = newcomer.checkout.folder
        in_php(newcomer, php_test)


def php_file(newcomer: Newcomer, *blocks: str) -> Path:
    file = newcomer.folder / "typed.php"
    file.write_text("<?php\nset_error_handler(fn($kind, $text) => throw new Exception($text));\n")
    with file.open("a") as program:
        program.writelines([newcomer.here(block) + "\n" for block in blocks])
    return file


def in_php(newcomer: Newcomer, *blocks: str) -> str:
    return newcomer.run(f"php {php_file(newcomer, *blocks)}")
