"""What an engine keeps, as values and as lines of JSON: for backups, and for moving from one engine to another."""
