"""Who listens, and who is told."""
