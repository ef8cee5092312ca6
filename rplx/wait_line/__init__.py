"""The line of those who listen."""
