"""A hostile service below the real HTTP client: its time, its jobs, its wire, and the people who use it."""
