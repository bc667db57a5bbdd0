"""Does the work: the runner, its decisions, and its actions at the service."""
