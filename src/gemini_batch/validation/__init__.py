"""Validates a request file before it is sent: what a line may hold, what is wrong with it, and how to fix it."""
