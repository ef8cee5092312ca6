"""Who may send and ask: users with passwords, and guests (protocol page, part 3, "Users")."""
