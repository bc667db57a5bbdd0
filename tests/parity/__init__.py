"""Our HTTP requests beside those of the official SDK."""
