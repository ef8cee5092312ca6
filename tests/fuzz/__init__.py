"""Fuzzing with atheris (libFuzzer): `make fuzz SECONDS=60` runs each target of `targets/` for a minute."""
