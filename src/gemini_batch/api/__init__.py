"""The Gemini REST API: one client, and one function for each method. Knows nothing of runs or the ledger."""
