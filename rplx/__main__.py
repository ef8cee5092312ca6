from rplx.cli import main

raise SystemExit(main())
