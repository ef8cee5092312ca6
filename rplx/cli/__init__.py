"""The command `rplx`, and the old one."""
