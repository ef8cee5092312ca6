"""The pages that people read, as something that can be typed: their blocks of code, in order."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FENCED = re.compile(r"(?:`([\w/]+\.py)`:\n\n)?^```([^\n`]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LEFT_OUT = {"node_modules", "tests", "bench"}


@dataclass(frozen=True)
class Block:
    """`language` is what stands behind the fence, `file` the name of a file that the line before the block gives."""

    language: str
    text: str
    file: str = ""


def names() -> list[str]:
    """Every page of the repository, as a path from its root."""
    pages = [path.relative_to(ROOT) for path in ROOT.glob("[!.]*/**/*.md")] + [Path(p.name) for p in ROOT.glob("*.md")]
    return sorted(str(path) for path in pages if not _LEFT_OUT.intersection(path.parts))


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


def blocks_of(name: str) -> list[Block]:
    return [Block(language, text, file) for file, language, text in FENCED.findall(text_of(name))]


class Page:
    """Hands out a page's blocks one after the other; none may be left when the `with` block ends."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._blocks = blocks_of(name)

    def next(self, language: str, begin: str = "") -> str:
        """The text of the next block, which must be of this language and begin so."""
        return self.block(language, begin).text

    def block(self, language: str, begin: str = "") -> Block:
        assert self._blocks, f"{self.name} has no more blocks, one of {language} was expected"
        block = self._blocks.pop(0)
        assert block.language == language, f"{self.name}: a block of {language} was expected, there is {block}"
        assert block.text.startswith(begin), f"{self.name}: a block {begin!r}... was expected, there is {block}"
        return block

    def all(self, language: str) -> list[str]:
        """The blocks of this language that come next."""
        found = []
        while self._blocks and self._blocks[0].language == language:
            found.append(self.next(language))
        return found

    def files(self, folder: Path, here: Callable[[str], str]) -> None:
        """Writes the files that come next, each as `here` turns it."""
        while self._blocks and self._blocks[0].file:
            block = self._blocks.pop(0)
            (folder / block.file).write_text(here(block.text))

    def __enter__(self) -> Page:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            assert not self._blocks, f"{self.name}: nobody has typed {self._blocks}"
