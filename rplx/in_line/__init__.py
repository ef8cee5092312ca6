"""The line of back-ends: they send, and ask who listens (protocol page, part 3)."""
