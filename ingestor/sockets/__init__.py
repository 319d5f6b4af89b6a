"""The threads that own one WebSocket connection each."""
