"""Configuration files of Realplexor."""
