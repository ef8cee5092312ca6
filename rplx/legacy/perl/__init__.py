"""The part of Perl in which old configuration files are written.

tokens.py parts a file into tokens, values.py has Perl's rules for values, expressions.py reads values, assignments.py
the statements that set them, and config.py a whole file.
"""
