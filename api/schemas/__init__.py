"""What callers send and receive, one file per resource. An answer reads a value's attributes and writes the JSON."""
