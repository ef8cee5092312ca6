"""Typing the page on private channels. What each route signs is verified by another library than ours."""

from __future__ import annotations

import http.cookiejar
import json
import shutil
import urllib.error
import urllib.request

import jwt
import pytest

from tests.hosts.http import ask, get
from tests.pages.blocks import Page
from tests.pages.clients import HAS_PHP, in_php
from tests.pages.newcomer import Newcomer, until
from tests.pages.surroundings import HAS_BROWSER, open_page
from tests.redis_server import free_port

KEY = "0123456789abcdef0123456789abcdef"
# Asks the application twice: as nobody, and as the user 42.
ASKING_FLASK = """
from app import app

client = app.test_client()
print(client.get("/grant").status_code)
with client.session_transaction() as session:
    session["user"] = 42
answer = client.get("/grant")
print(answer.headers["Cache-Control"], answer.mimetype, answer.text)
"""
ASKING_DJANGO = """
import os

os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
import django
from django.conf import settings

settings.ALLOWED_HOSTS = ["testserver"]
django.setup()
from django.contrib.auth.models import User
from django.test import Client

client = Client()
print(client.get("/grant").status_code)
client.force_login(User.objects.create(pk=42, username="ann"))
answer = client.get("/grant")
print(answer.headers["Cache-Control"].split(", ")[-2], answer.headers["Content-Type"], answer.text)
"""
DJANGO_URLS = """
from django.urls import path

from . import views

urlpatterns = [path("grant", views.grant)]
"""
# As much of Laravel as a route sees.
LARAVEL = """
namespace Illuminate\\Http {
    class Request { public function user() { return (object)['id' => 42]; } }
}
namespace {
    class Answer {
        public array $headers = [];
        public function __construct(public string $text) {}
        public function header($name, $value) { $this->headers[$name] = $value; return $this; }
    }
    class Route {
        public static $action;
        public static function middleware($name) { assert($name === 'auth'); return new self(); }
        public function get($path, $action) { assert($path === '/grant'); self::$action = $action; }
    }
    function response($text) { return new Answer($text); }
    function config($name) { assert($name === 'services.rplx.key'); return getenv('RPLX_GRANT_KEY'); }
    require_once '%s/php/src/autoload.php';
    %s
    $answer = (Route::$action)(new Illuminate\\Http\\Request());
    echo $answer->headers['Cache-Control'], ' ', $answer->headers['Content-Type'], ' ', $answer->text;
}
"""
LOGIN = "<?php session_start(); $_SESSION['user'] = 42; session_write_close();"


def private_channels(page: Page, newcomer: Newcomer) -> None:
    newcomer.install(page.next("sh", "python3 -m venv") + "pip install flask django\n")
    key = newcomer.run(page.next("sh", "export RPLX_GRANT_KEY") + "echo $RPLX_GRANT_KEY")
    assert len(key.strip()) == 64
    newcomer.environ["RPLX_GRANT_KEY"] = KEY
    config, serve = page.next("toml", "[grants.keys]"), page.next("sh", "rplx serve")
    (newcomer.folder / "rplx.toml").write_text(config)
    verified(newcomer.python(page.next("python", "import rplx")))
    html = page.next("html")
    flask(page.next("python"), newcomer)
    django(page.next("python"), newcomer)
    laravel, plain, listening, php_listening = page.next("php"), page.next("php"), page.next("python"), page.next("php")
    if HAS_PHP:
        in_laravel(laravel, newcomer)
        plain_php(plain, newcomer)
    site = free_port()
    newcomer.start(serve, 8088, RPLX_WAIT_ALLOWED_ORIGINS=f"http://127.0.0.1:{site}")
    assert ask(newcomer.address(8088), get("/?identifier=user_42_mail")).status.startswith("403")
    assert newcomer.python(listening) == "hello\n"
    if HAS_PHP:
        shutil.copytree(newcomer.checkout.folder / "php", newcomer.folder / "php", dirs_exist_ok=True)
        require = "require_once 'php/src/autoload.php';"
        told = in_php(newcomer, require, php_listening)
        assert told == "hello\n"
    if HAS_BROWSER:
        a_page(html, newcomer, site)
    claims = verified(newcomer.run(page.next("sh", "rplx grant")), channels=["news", "user_42_mail"])
    assert claims["exp"] - claims["iat"] == 600
    newcomer.stop()
    rotated(page.next("toml", "[grants.keys]"), config, newcomer)


def rotated(keys: str, config: str, newcomer: Newcomer) -> None:
    """With both keys the grants of either are taken, once a new one names its key."""
    file = newcomer.folder / "2026b.key"
    file.write_text(KEY[::-1])
    rules = config[config.index("[[channels]]") :]
    (newcomer.folder / "rplx.toml").write_text(keys.replace("/etc/rplx/2026b.key", str(file)) + rules)
    for kid, key in (("2026a", "env:RPLX_GRANT_KEY"), ("2026b", f"file:{file}")):
        token = newcomer.run(f"rplx grant --channels news --kid {kid} --key {key}").strip()
        assert '"refused": null' in newcomer.run(f"rplx grant --show {token} --config rplx.toml")


def verified(printed: str, channels: list[str] | None = None) -> dict[str, object]:
    """The claims of the last word that was printed."""
    claims: dict[str, object] = jwt.decode(printed.split()[-1], KEY, ["HS256"])
    assert (claims["sub"], claims["channels"]) == ("42", channels or ["news", "user_42_*"])
    return claims


def flask(program: str, newcomer: Newcomer) -> None:
    (newcomer.folder / "app.py").write_text(program)
    (newcomer.folder / "asking.py").write_text(ASKING_FLASK)
    status, answer = newcomer.run("SECRET_KEY=secret python asking.py").splitlines()
    assert (status, answer.split()[:2]) == ("401", ["no-store", "text/plain"])
    verified(answer)


def django(views: str, newcomer: Newcomer) -> None:
    newcomer.run("django-admin startproject mysite .")
    (newcomer.folder / "mysite/views.py").write_text(views)
    (newcomer.folder / "mysite/urls.py").write_text(DJANGO_URLS)
    (newcomer.folder / "asking.py").write_text(ASKING_DJANGO)
    status, answer = newcomer.run("python manage.py migrate --verbosity 0 && python asking.py").splitlines()[-2:]
    assert (status, answer.split()[:2]) == ("401", ["must-revalidate", "text/plain"])
    verified(answer)


def in_laravel(route: str, newcomer: Newcomer) -> None:
    file = newcomer.folder / "laravel.php"
    file.write_text("<?php\n" + LARAVEL % (newcomer.checkout.folder, route))
    told = newcomer.run(f"php -d zend.assertions=1 {file}")
    assert told.split()[:2] == ["no-store", "text/plain"]
    verified(told)


def plain_php(script: str, newcomer: Newcomer) -> None:
    folder = newcomer.folder / "site"
    folder.mkdir()
    (folder / "grant.php").write_text(newcomer.here(script))
    (folder / "login.php").write_text(LOGIN)
    newcomer.start(f"php -d display_errors=1 -S 127.0.0.1:8000 -t {folder}", 8000)
    url = "http://127.0.0.1:%d/" % newcomer.port(8000)
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    with pytest.raises(urllib.error.HTTPError, match="401"):
        opener.open(url + "grant.php")
    opener.open(url + "login.php").close()
    with opener.open(url + "grant.php") as answer:
        assert (answer.headers["Cache-Control"], answer.headers.get_content_type()) == ("no-store", "text/plain")
        verified(answer.read().decode())
    newcomer.stop()


def a_page(html: str, newcomer: Newcomer, site: int) -> None:
    """The page, whose site gives it a grant of ours."""
    grant = json.dumps(newcomer.run("rplx grant --user 42 --channels user_42_mail").strip())
    before = (
        "const byNetwork = fetch, show = (data) => console.log('heard ' + data);"
        f"const given = () => Promise.resolve(new Response({grant}));"
        "window.fetch = (url, ...more) => url === '/grant' ? given() : byNetwork(url, ...more);"
    )
    heard = open_page(newcomer, html, site, before)

    def hears() -> bool:
        newcomer.run("""rplx send user_42_mail '"hello"'""")  # again and again: those before have listened there, too
        return "heard hello" in heard.read_text()

    until(hears, heard)
