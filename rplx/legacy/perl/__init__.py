"""The part of Perl in which old configuration files are written."""
