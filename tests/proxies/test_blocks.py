"""The configurations of docs/proxies.md as they stand there, each in its real server in front of a real rplx."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rplx.cli.command import main
from rplx.cli.doctor import messages
from rplx.cli.doctor.cures import CURES
from tests.lines.wire import settings
from tests.live import LiveServer
from tests.proxies.conftest import be_patient
from tests.proxies.fronts import PAGE, Block, Front, front, page_blocks
from tests.proxies.measure import becomes, connect, cut_after, message_after, new_id, noticed_after, path

OPTIONS = settings("wait.allowed_origins=https://example.com")
BLOCKS = page_blocks()
NOTICE = 30.0  # seconds in which a hang-up is noticed: less than wait.timeout, when the server ends the poll
OLD_TIMEOUT = 300  # seconds of WAIT_TIMEOUT, and of what `rplx migrate-config` writes
LIMIT = re.compile(r"\b320s?\b")


@pytest.fixture(scope="module", params=BLOCKS)
def block(request: pytest.FixtureRequest) -> Block:
    return BLOCKS[request.param]


@pytest.fixture(scope="module")
def started(
    block: Block, server: LiveServer, certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    with front(block, tmp_path_factory.mktemp("front"), server.wait, certificates) as running:
        yield running


@pytest.fixture(scope="module")
def hasty() -> Iterator[LiveServer]:
    """A server that ends polls soon."""
    with LiveServer(*settings("wait.timeout=5")) as started:
        yield started


def test_the_page_has_a_block_for_each_server() -> None:
    assert list(BLOCKS) == ["nginx", "nginx with TLS and HTTP/2", "HAProxy", "Apache", "Caddy", "Varnish"]


def test_a_message_comes(block: Block, started: Front, server: LiveServer) -> None:
    for _ in range(2):
        message_after(started, path(block), server.in_)


def test_a_closed_tab_is_noticed(block: Block, started: Front, server: LiveServer) -> None:
    if block.kind != "apache":  # which tells of it when the poll ends
        assert noticed_after(started, path(block), server.in_, NOTICE) is not None


def test_behind_apache_a_closed_tab_is_noticed_when_its_poll_ends(
    server: LiveServer, certificates: Path, tmp_path: Path
) -> None:
    block, id = BLOCKS["Apache"], new_id()
    with front(block, tmp_path, server.wait, certificates) as running:
        connection = connect(running)
        connection.request("GET", f"{path(block)}?identifier={id}&timeout=3")
        assert becomes(server.in_, id, 1, 60) is not None
        connection.close()
        assert becomes(server.in_, id, 0, NOTICE) is not None


def test_the_server_ends_a_poll(hasty: LiveServer, certificates: Path, tmp_path: Path) -> None:
    def ended(name: str) -> tuple[str, int, bytes, bool]:
        block = BLOCKS[name]
        with front(block, tmp_path / new_id(), hasty.wait, certificates) as running:
            connection = connect(running)
            connection.request("GET", f"{path(block)}?identifier={new_id()}")
            answer = connection.getresponse()
            text = answer.read()
            connection.close()
            return name, answer.status, text, noticed_after(running, path(block), hasty.in_, NOTICE) is not None

    with ThreadPoolExecutor(len(BLOCKS)) as pool:
        assert list(pool.map(ended, BLOCKS)) == [(name, 200, b" \r\n", True) for name in BLOCKS]


def haproxy_with_tls() -> Block:
    """The block with the line that the page has for TLS in place of its own."""
    block = BLOCKS["HAProxy"]
    (line,) = re.findall(r"`(bind :443 [^`]*)`", PAGE.read_text())
    return block._replace(text=block.text.replace("bind :80", line), tls=True)


@pytest.mark.parametrize("block", [BLOCKS["nginx with TLS and HTTP/2"], haproxy_with_tls()], ids=["nginx", "haproxy"])
def test_a_cancelled_stream_is_noticed(block: Block, server: LiveServer, certificates: Path, tmp_path: Path) -> None:
    """As a tab does that is closed while the browser has others: their connection stays."""
    with front(block, tmp_path, server.wait, certificates) as running:
        cancelled(running, path(block), server)


def cancelled(started: Front, prefix: str, server: LiveServer) -> None:
    id = new_id()
    node = shutil.which("node")
    assert node, "node is not installed"
    command = [node, str(Path(__file__).with_name("h2.mjs")), started.url, f"{prefix}?identifier={id}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as browser:
        assert browser.stdin is not None
        assert becomes(server.in_, id, 1, 60) is not None
        browser.stdin.write(b"close the tab\n")
        browser.stdin.flush()
        assert becomes(server.in_, id, 0, NOTICE) is not None
        browser.stdin.close()


def test_the_doctor_finds_nothing_wrong(
    block: Block,
    started: Front,
    server: LiveServer,
    certificates: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    be_patient(monkeypatch)
    if block.kind == "apache":
        monkeypatch.setattr(messages, "NOTICED", 1.5)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "site.pem"))
    given = ["--in", "%s:%d" % server.in_, "--origin", "https://example.com", "--patience", "0.1", "--json"]
    status = main(["doctor", started.url.rstrip("/") + path(block), *given])
    shown = json.loads(capsys.readouterr().out)
    wrong = [each["check"] for each in shown["findings"] if each["state"] == "wrong"]
    assert wrong == (["hang-up"] if block.kind == "apache" else [])
    assert status == bool(wrong)
    states = {each["check"]: each["state"] for each in shown["findings"]}
    assert states["CORS"] == states["message"] == states["buffering"] == states["headers"] == "well"
    assert states["HTTP/2"] == ("well" if started.tls else "untested")


def test_what_cuts_a_poll_is_what_the_block_says(server: LiveServer, certificates: Path, tmp_path: Path) -> None:
    """With a shorter time in the same lines polls are cut. As they stand, they let those of old installations pass."""

    def is_cut(name: str) -> bool:
        block = BLOCKS[name]
        text = LIMIT.sub(lambda found: found[0].replace("320", "1"), block.text)
        shorter = block._replace(text=text, arguments=tuple(word.replace("320", "1") for word in block.arguments))
        with front(shorter, tmp_path / new_id(), server.wait, certificates) as running:
            return cut_after(running, path(block), 40) is not None

    names = [name for name, block in BLOCKS.items() if block.kind != "caddy"]
    for name in names:
        times = [float(found.rstrip("s")) for found in LIMIT.findall(str(BLOCKS[name]))]
        assert times, name
        assert min(times) > OLD_TIMEOUT, name
    with ThreadPoolExecutor(len(names)) as pool:
        assert dict(zip(names, pool.map(is_cut, names), strict=True)) == dict.fromkeys(names, True)


def test_caddy_cuts_nothing_by_itself() -> None:
    assert not LIMIT.search(str(BLOCKS["Caddy"]))


# What the page's lines for the path of a socket replace.
TCP = {
    "nginx": r"server 127\.0\.0\.1:8088;",
    "HAProxy": r"server rplx 127\.0\.0\.1:8088",
    "Apache": r"ProxyPass [^\n]*",
    "Caddy": r"reverse_proxy 127\.0\.0\.1:8088",
    "Varnish": r"\.host = [^}]*",
}


@pytest.mark.parametrize("name", TCP)
def test_the_path_of_a_socket(name: str, certificates: Path, tmp_path: Path) -> None:
    (line,) = re.findall(rf"(?m)^- {name}: `([^`]*/run/rplx/wait\.sock[^`]*)`$", PAGE.read_text())
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # Apache serves as another user
        line = line.replace("/run/rplx", folder)
        text, count = re.subn(TCP[name], lambda _: line + "\n", BLOCKS[name].text)
        assert count == 1
        places = ("--wait", f"unix:{folder}/wait.sock", "--in", "127.0.0.1:0")
        with LiveServer(*places, *settings("server.socket_mode=0666"), addresses=False) as server:
            block = BLOCKS[name]._replace(text=text)
            with front(block, tmp_path, ("127.0.0.1", 0), certificates) as running:
                message_after(running, path(block), server.in_)
                if name != "Apache":
                    assert noticed_after(running, path(block), server.in_, NOTICE) is not None


def test_what_the_doctor_advises_stands_on_the_page() -> None:
    text = as_one_line(PAGE.read_text())
    lines = {line for cures in CURES.values() for given in cures.values() for line in given}
    assert [line for line in lines if as_one_line(line) not in text] == []


def test_the_options_are_right(tmp_path: Path) -> None:
    (options,) = re.findall(r"(?ms)^```toml\n(.*?)^```$", PAGE.read_text())
    (tmp_path / "page.toml").write_text(options)
    assert main(["serve", "--check-config", "--config", str(tmp_path / "page.toml")]) == 0


def as_one_line(text: str) -> str:
    return " ".join(text.split())
