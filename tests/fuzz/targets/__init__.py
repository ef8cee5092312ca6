"""One module for each parser. It has

SIZE     bytes that the server lets the parser have at once, the bound of an input
seeds()  a small corpus, from the tables of the parser's tests
SLOWEST  seconds that an input may take, if not `inputs.SLOWEST`
check()  one input; AssertionError, or any other exception, if the parser breaks its word
"""

from __future__ import annotations

from pathlib import Path

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")
