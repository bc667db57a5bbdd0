"""The Gemini REST API and nothing else: one client, and a function a method. Knows no run and no ledger."""
