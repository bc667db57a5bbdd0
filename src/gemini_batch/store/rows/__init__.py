"""``rows.db``: the requests of a run and the answers to them."""
