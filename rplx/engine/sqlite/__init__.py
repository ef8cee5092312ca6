"""The engine that answers from memory and keeps everything on disk too, in one SQLite file.

What is sent goes to memory and to listeners once its transaction has ended. A thread writes, a transaction for all that
has come meanwhile; what is only remembered (who is online, what was dropped) is written behind. A new process reads it
all back into memory.
"""
