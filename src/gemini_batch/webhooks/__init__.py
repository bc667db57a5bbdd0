"""Deliveries of webhooks: their signatures, the public keys that check them, and a receiver on this machine."""

#: Where the receiver listens if nothing else is said: on this machine only.
HOST, PORT = "127.0.0.1", 8787
