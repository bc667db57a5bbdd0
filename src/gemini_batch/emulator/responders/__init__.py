"""What answers a request: the built-in responder, a Python function, an OpenAI-compatible server."""
