from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def conf(tmp_path: Path):
    def write(text: str) -> str:
        path = tmp_path / "old.conf"
        path.write_text(text)
        return str(path)

    return write
