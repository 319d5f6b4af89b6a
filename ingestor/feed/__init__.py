"""One topic's event stream, pure: what the session reports goes in, events and questions come out."""
