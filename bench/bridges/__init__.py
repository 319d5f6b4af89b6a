"""What a user would write instead of the gateway: each reads the sender's frames and publishes them, confirmed.

All of them take the sender's address and the AMQP URL as arguments, subscribe every topic of the mix, and publish to
the gateway's own exchange and queues under the gateway's routing keys.
"""
