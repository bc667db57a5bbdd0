"""Who acts: the runner, what it decides, and what it does at the service."""
