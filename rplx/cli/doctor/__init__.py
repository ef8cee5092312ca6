"""`rplx doctor`: asks a WAIT address through all that lies in between, and says what it found (docs/proxies.md)."""
