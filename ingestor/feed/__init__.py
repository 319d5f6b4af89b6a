"""One topic's event stream, pure: what the session reports goes in, events and requests to REST come out."""
