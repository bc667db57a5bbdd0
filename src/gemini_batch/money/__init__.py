"""Money: what requests may cost at most, and what of it a budget allows. Values in, values out."""
