"""The exchange's rules as values: what Bybit may send, and how we respond.

No socket, thread, clock or logger in here: frames and time go in, actions come out. Read `session` first, then
`states` and `subscriptions`. The rules are from Bybit's V5 documents, whose pages are named, and from recordings.
"""
