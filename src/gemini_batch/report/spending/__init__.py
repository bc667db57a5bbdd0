"""What the runs of a state folder used and cost: read (``reading``), summed up (``sums``), and shown (``sheet``, ``page``)."""
