"""Code that several processes share; it knows none of them."""
