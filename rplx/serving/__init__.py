"""The processes of `rplx serve`: one that serves, and a supervisor of several."""
