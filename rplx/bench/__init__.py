"""Measures a server as its users meet it, against `floor`: the least that a C server can do on the same machine.

`tools` builds and runs the C programs that lie beside it, `servers` starts what is measured, `rounds` alternates and
compares, `command` is `rplx bench`.
"""
