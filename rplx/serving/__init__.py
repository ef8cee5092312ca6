"""Our own serving processes."""
