"""`python -m rplx`: the command `rplx`."""

from rplx.cli.command import main

raise SystemExit(main())
