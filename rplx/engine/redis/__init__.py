"""History and presence in Redis or Valkey, for many processes on many machines.

What is kept where, the names of the keys, and what happens when Redis is away: docs/redis.md. How a listener that
enters "now" gets its place in Redis' order of cursors: clock.py. A poll is answered from a copy of its channels that
this process keeps (follower.py); a send is one script (lua/append.lua).
"""
