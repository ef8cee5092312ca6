"""Typing the README and the page on Redis."""

from __future__ import annotations

import os
import re

from tests.hosts.http import ask, get, messages, online
from tests.pages.blocks import Page
from tests.pages.inside import polls
from tests.pages.newcomer import Newcomer, until
from tests.pages.surroundings import HAS_BROWSER, open_page
from tests.redis_server import AVAILABLE, RedisServer, free_port


def readme(page: Page, newcomer: Newcomer) -> None:
    newcomer.folder = newcomer.checkout.folder  # "in this directory"
    run, test = page.next("sh", "make run").splitlines()
    assert test.startswith("make test ")  # what runs this
    newcomer.start(run, 8088)
    assert b"<title>" in ask(newcomer.address(8088), get("/")).body
    newcomer.stop()
    newcomer.install(page.next("sh", "python3 -m venv"))
    site = free_port()
    newcomer.start(page.next("sh", "rplx serve"), 8088, RPLX_WAIT_ALLOWED_ORIGINS=f"http://127.0.0.1:{site}")
    hears(page, newcomer, site)
    tour(page.next("console"), newcomer)
    service(page.next("sh", "sudo conf/install-service.sh"), newcomer)


def hears(page: Page, newcomer: Newcomer, site: int) -> None:
    """The page and the back-ends in three languages."""
    html = page.next("html")
    heard = open_page(newcomer, html, site) if HAS_BROWSER else None
    if heard is not None:
        until(lambda: online(newcomer.address(10010)).get("news") == 1, heard)
    (newcomer.folder / "typed.php").write_text("<?php\n" + newcomer.here(page.next("php")))
    newcomer.run("php typed.php")
    newcomer.python(page.next("python"))
    newcomer.run(page.next("sh", "rplx send"))
    news = messages(ask(newcomer.address(8088), get("/?identifier=1:news")).body)
    assert news == [{"title": "It works"}] * 4
    if heard is not None:
        until(lambda: heard.read_text().count("news {title: It works}") == 4, heard)


def tour(shown: str, newcomer: Newcomer) -> None:
    """The README shows lines of what tools/tour.sh prints, in their order; digits are other ones."""
    digits = re.compile(r"\d+")
    printed = [digits.sub("9", line) for line in newcomer.run("tools/tour.sh").splitlines()]
    for line in filter(None, shown.splitlines()):
        assert digits.sub("9", line) in printed, line
        del printed[: printed.index(digits.sub("9", line)) + 1]


def service(commands: str, newcomer: Newcomer) -> None:
    """The installation goes into a folder, so that the machine stays as it is; what systemctl says of it is its own."""
    install, enable = commands.splitlines()
    assert enable == "sudo systemctl enable --now rplx"
    newcomer.run(install.removeprefix("sudo "), DESTDIR=str(newcomer.folder / "root"))
    assert "rplx" in newcomer.run("root/opt/rplx/bin/rplx --version")
    assert (newcomer.folder / "root/etc/systemd/system/rplx.service").exists()


def proxies(page: Page, newcomer: Newcomer) -> None:
    """The configurations of this page are tried in tests/proxies, each in its own server."""
    del newcomer
    assert page.next("sh").startswith("rplx doctor ")
    for language in ("nginx", "nginx", "haproxy", "apache", "caddy", "vcl", "toml"):
        page.next(language)


def redis(page: Page, newcomer: Newcomer) -> None:
    newcomer.install(page.next("sh", "python3 -m venv"))
    one, several = page.next("sh", "rplx serve"), page.next("sh", "rplx serve --workers 4")
    if not AVAILABLE and not os.environ.get("CI"):
        return
    with RedisServer() as server:
        newcomer.place(6379, server.port)
        for command in (one, several):
            newcomer.start(command, 8088)
            polls(newcomer, 8088)
            newcomer.stop()


def sqlite(page: Page, newcomer: Newcomer) -> None:
    newcomer.install(page.next("sh", "python3 -m venv"))
    newcomer.start(page.next("sh", "rplx serve"), 8088)
    newcomer.run("rplx send news 1")
    assert "1 messages in 1 channels" in newcomer.run(page.next("sh", "rplx history check"))
    newcomer.run(page.next("sh", "rplx history backup"))
    newcomer.stop()
    assert "loaded 1 messages" in newcomer.run(page.next("sh", "rplx history dump"))
    newcomer.install_more(page.next("sh", "pip install"))
    to_redis = page.next("sh", "rplx history load redis:")
    if AVAILABLE or os.environ.get("CI"):
        with RedisServer() as server:
            newcomer.place(6379, server.port)
            assert "loaded 1 messages" in newcomer.run(to_redis)
    (newcomer.folder / "shown.jsonl").write_text(page.next("json"))
    assert "loaded 1 messages" in newcomer.run("rplx history load shown.db --input shown.jsonl")
