"""The line of those who send."""
