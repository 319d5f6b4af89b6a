"""The threads that hold a WebSocket connection each."""
