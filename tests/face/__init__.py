"""The public face: what ``import gemini_batch`` offers."""
