"""The `ws-gateway` command."""
