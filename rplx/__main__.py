from rplx.cli.command import main

raise SystemExit(main())
