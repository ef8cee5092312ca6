"""`make release-check`: builds the four packages, and uses each in a fresh environment as a user would.

A wheel and an sdist for pip, a tarball for npm, an archive for Composer. Nothing is uploaded.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 600  # seconds for one command
TRIED_IN_PYTHON = """
import rplx
from rplx.testing import capture, server

with capture() as sent:
    rplx.publish("news", 1)
assert sent == [("news", 1)]
with server() as running, running.client() as client:
    listener = client.listen("news", running.url)
    rplx.publish("news", {"title": "It works"})
    assert next(iter(listener)).data == {"title": "It works"}
    listener.close()
"""
TRIED_IN_NODE = """
import { Realplexor } from 'rplx';

const realplexor = new Realplexor(process.env.URL_OF_WAIT, { transports: ['poll'] });
realplexor.subscribe('news', (data) => {
  console.log(data.title);
  realplexor.close();
});
"""
TRIED_IN_TYPESCRIPT = """
import { Realplexor } from 'rplx';

const realplexor = new Realplexor('/rpl/');
realplexor.subscribe('news', (data: unknown, id: string) => {
  document.title = `${id}: ${JSON.stringify(data)}`;
});
"""
TRIED_IN_PHP = """<?php
require 'vendor/autoload.php';
$client = new Rplx\\Client('127.0.0.1', (int)getenv('PORT_OF_IN'));
$client->send('news', ['title' => 'It works']);
(new Dklab_Realplexor('127.0.0.1', (int)getenv('PORT_OF_IN')))->send('news', 1);
"""
COMPILED = {"target": "es2022", "module": "esnext", "moduleResolution": "bundler", "strict": True, "noEmit": True}


def main() -> int:
    """Returns the exit status; the first command that fails ends it, with what that has said."""
    with tempfile.TemporaryDirectory(prefix="rplx-release-") as name:
        folder = Path(name)
        source = folder / "source"
        ignored = shutil.ignore_patterns(".*", "node_modules", "build", "dist", "*.egg-info", "vendor", "__pycache__")
        shutil.copytree(ROOT, source, ignore=ignored)
        for step, done in (
            ("wheel and sdist", lambda: python(source, folder)),
            ("npm tarball", lambda: npm(source / "js", folder)),
            ("Composer archive", lambda: composer(source / "php", folder)),
        ):
            print(f"{step}:", done(), flush=True)
    return 0


def python(source: Path, folder: Path) -> str:
    """Builds what pip takes, and installs each into an environment of its own."""
    tools = environment(folder / "tools", "build", "twine")
    built = folder / "dist"
    run([tools / "python", "-m", "build", "--outdir", built, source], folder)
    packages = sorted(built.iterdir())
    run([tools / "twine", "check", "--strict", *packages], folder)
    for number, package in enumerate(packages):
        programs = environment(folder / f"installed{number}", str(package))
        run([programs / "python", "-c", TRIED_IN_PYTHON], folder)
        run([programs / "rplx", "--version"], folder)
    return ", ".join(package.name for package in packages)


def npm(source: Path, folder: Path) -> str:
    """Packs what npm takes, and installs it for Node and in a Vite project in TypeScript."""
    run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], source)
    run(["npm", "pack", "--silent", "--pack-destination", folder], source)
    (tarball,) = folder.glob("rplx-*.tgz")
    run(["npm", "publish", "--dry-run", "--silent", tarball], folder)
    site = folder / "site"
    site.mkdir()
    (site / "package.json").write_text('{"type": "module", "private": true}\n')
    (site / "index.html").write_text('<script type="module" src="/main.ts"></script>\n')
    (site / "main.ts").write_text(TRIED_IN_TYPESCRIPT)
    (site / "tsconfig.json").write_text(json.dumps({"compilerOptions": COMPILED, "files": ["main.ts"]}))
    (site / "main.mjs").write_text(TRIED_IN_NODE)
    run(["npm", "install", "--silent", "--no-audit", "--no-fund", tarball, "vite", "typescript"], site)
    run(["npx", "tsc"], site)
    run(["npx", "vite", "build"], site)
    assert any((site / "dist").rglob("*.js"))
    run(["node", "-e", "import('rplx').then((m) => { if (!m.Realplexor) process.exit(1); })"], site)
    tried = [folder / "installed0" / "bin" / "python", "-c", _BESIDE_NODE, site / "main.mjs"]
    assert run(tried, site).strip() == "It works"
    return tarball.name


_BESIDE_NODE = """
import os, subprocess, sys
from rplx.testing import server

with server() as running, running.client() as client:
    receipt = client.send("news", {"title": "It works"})
    environ = {**os.environ, "URL_OF_WAIT": running.url, "PORT_OF_IN": str(running.port)}
    node = subprocess.Popen(["node", sys.argv[1]], env=environ)
    while "news" not in client.online():
        assert node.poll() is None
    client.send("news", {"title": "It works"})
    sys.exit(node.wait(60))
"""


def composer(source: Path, folder: Path) -> str:
    """Packs what Composer takes, and requires it from a path repository."""
    environ = {"COMPOSER_ALLOW_SUPERUSER": "1"}
    run(["composer", "validate", "--strict", "--no-interaction"], source, **environ)
    archive = ["composer", "archive", "--format=zip", "--file=rplx-php", f"--dir={folder}", "--no-interaction"]
    run(archive, source, **environ)
    packed = folder / "rplx-php.zip"
    with zipfile.ZipFile(packed) as file:
        file.extractall(folder / "rplx-php")
    site = folder / "php-site"
    site.mkdir()
    for command in (
        ["composer", "init", "--no-interaction", "--name=my/site"],
        ["composer", "config", "repositories.rplx", "path", str(folder / "rplx-php")],
        ["composer", "require", "--no-interaction", "rplx/rplx:@dev"],
    ):
        run(command, site, **environ)
    (site / "main.php").write_text(TRIED_IN_PHP)
    beside = (
        "import os, subprocess, sys\nfrom rplx.testing import server\nwith server() as running:\n"
        "    sys.exit(subprocess.call(['php', 'main.php'], env={**os.environ, 'PORT_OF_IN': str(running.port)}))\n"
    )
    run([folder / "installed0" / "bin" / "python", "-c", beside], site)
    return packed.name


def environment(folder: Path, *packages: str) -> Path:
    """Makes a virtual environment with these packages; returns the folder of its programs."""
    run([sys.executable, "-m", "venv", folder], folder.parent)
    run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", *packages], folder.parent)
    return folder / "bin"


def run(command: list[object], folder: Path, **more: str) -> str:
    """Returns what a command prints. Raises SystemExit with all that it has said if it fails."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("RPLX_", "PYTHONPATH"))}
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=folder, env={**environ, **more}, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)[:200]}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
