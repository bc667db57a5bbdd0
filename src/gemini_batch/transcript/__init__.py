"""Requests and answers as text that people can read: turns of a conversation, with what is not text named."""
