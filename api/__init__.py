"""The api: subscriptions, status and balances over HTTP."""
