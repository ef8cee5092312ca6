"""The listeners of a process, and the delivery of messages to them."""
