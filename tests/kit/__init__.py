"""What tests and the bench share: private servers, waiting, a proxy, wallet messages."""
