"""What the tests of the JavaScript client share: where it is, and whether its tools are installed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

JS = Path(__file__).parents[2] / "js"

_installed = shutil.which("node") is not None and (JS / "node_modules").is_dir()

# In CI a missing tool is a failure, not a reason to look away.
needs_node = pytest.mark.skipif(not _installed and not os.environ.get("CI"), reason="needs node, and npm ci in js/")
