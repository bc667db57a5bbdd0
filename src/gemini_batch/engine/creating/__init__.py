"""Plans one job and gets it created: once, and within the budget."""
