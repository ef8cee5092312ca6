from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def toml(tmp_path: Path):
    def write(text: str) -> str:
        path = tmp_path / "rplx.toml"
        path.write_text(text)
        return str(path)

    return write
