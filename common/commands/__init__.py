"""What a person types: `ws-gateway …`, one file per word that may follow."""
