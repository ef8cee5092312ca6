"""Who may send and ask."""
