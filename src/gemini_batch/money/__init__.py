"""Money as values: prices on a day, the user's own prices, what answers cost, what requests cost at most, and limits.

Nothing here reads or writes.
"""
