"""Turns a request file into a run: validation, the canonical copy, the checks of the model."""
