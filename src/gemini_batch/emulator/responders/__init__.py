"""Responders, which answer requests: the built-in one, a Python function, an OpenAI-compatible server."""
