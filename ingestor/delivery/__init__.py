"""What we hand on."""
