"""The exchange's rules as values: what may Bybit say, and what do we say then.

No socket, thread, clock or logger in here: frames and time go in, actions come out. Read `session` first,
then `topics`. The sources of the rules are Bybit's V5 documents and recordings of its sockets.
"""
