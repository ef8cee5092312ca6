"""What docs/performance.md shows: `python -m bench.measure` and `bench.compare`; `bench.regression` is a check."""
