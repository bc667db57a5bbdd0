"""Fits the rates of ``gemini_batch.tokens`` to recorded counts."""
