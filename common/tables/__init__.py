"""One file per table: its columns, its indexes, its statements."""
