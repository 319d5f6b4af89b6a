"""The exchange's rules, without sockets, threads or clocks."""
