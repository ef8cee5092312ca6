from __future__ import annotations

import pytest
from hypothesis import settings

from tests.checkout import Checkout

# No deadline for one example: the machine may be busy with the servers of other tests. print_blob: a failure on another
# machine can be repeated here.
settings.register_profile("rplx", deadline=None, print_blob=True)
settings.load_profile("rplx")


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Made once for all tests of a process, as building its wheel takes seconds."""
    return Checkout(tmp_path_factory.mktemp("checkout"))
