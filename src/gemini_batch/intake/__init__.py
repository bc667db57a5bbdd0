"""From a request file to a run: validation, the canonical copy, the checks of the model."""
