"""Everything that a page says is typed, word for word, in a fresh environment. A page that nobody types fails."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.pages import blocks, clients, inside, private, server
from tests.pages.blocks import Page
from tests.pages.newcomer import PLACE, Newcomer

TYPED: dict[str, Callable[[Page, Newcomer], None]] = {
    "README.md": server.readme,
    "docs/gunicorn.md": inside.gunicorn,
    "docs/javascript.md": clients.javascript,
    "docs/php.md": clients.php,
    "docs/private-channels.md": private.private_channels,
    "docs/proxies.md": server.proxies,
    "docs/python.md": clients.python,
    "docs/quickstart-django.md": inside.django,
    "docs/quickstart-flask.md": inside.flask,
    "docs/redis.md": server.redis,
    "docs/sqlite.md": server.sqlite,
    "docs/streams.md": clients.streams,
    "docs/testing.md": clients.testing,
    "docs/wsgi.md": inside.wsgi,
    "js/README.md": clients.npm,
}
NOT_PUBLISHED = {
    "pip install": "rplx is not on PyPI yet: `/path/to/rplx` is your checkout of it.",
    "npm install": "rplx is not on npm yet: `/path/to/rplx` is your checkout of it.",
    "composer require": "rplx is not on Packagist yet: `/path/to/rplx` is your checkout of it.",
}


@pytest.mark.parametrize("name", [name for name in blocks.names() if name in TYPED or blocks.blocks_of(name)])
def test_page(name: str, newcomer: Newcomer) -> None:
    with Page(name) as page:
        TYPED.get(name, looked_at)(page, newcomer)


def looked_at(page: Page, newcomer: Newcomer) -> None:
    """A page with nothing to type: the names in its trees are those of files."""
    for block in blocks.blocks_of(page.name):
        page.next("")
        for name in re.findall(r"^ *([\w./]+/|[\w.]+\.(?:py|md|js)\b)", block.text, re.MULTILINE):
            assert list(blocks.ROOT.rglob(name.rstrip("/"))), f"{page.name}: there is no {name}"


@pytest.mark.parametrize("name", blocks.names())
def test_nothing_is_installed_elsewhere_than_in_a_block(name: str) -> None:
    """And where a checkout is installed from, the page says so, in the same words as all others."""
    text = blocks.text_of(name)
    outside = blocks.FENCED.sub("", text)
    for command, sentence in NOT_PUBLISHED.items():
        assert command not in outside
        if command in text:
            assert sentence in outside.replace("\n", " ")
    installed = re.findall(r"(?:pip|npm) install (?!--)(.*)", text)
    assert all(PLACE in command for command in installed), installed
