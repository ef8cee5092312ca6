from __future__ import annotations

from hypothesis import settings

# No deadline for one example: the machine may be busy with the servers of other tests. print_blob: a failure on another
# machine can be repeated here.
settings.register_profile("rplx", deadline=None, print_blob=True)
settings.load_profile("rplx")
