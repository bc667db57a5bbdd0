"""Which rows have been answered in a state folder, so that none of them is sent and paid for again."""
