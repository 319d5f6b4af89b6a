"""Domain logic: what the routes call, as values in and values out."""
