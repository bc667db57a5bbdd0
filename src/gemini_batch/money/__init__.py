"""Money as values: prices on a day, the user's own prices, and what answers cost. Nothing here reads or writes."""
