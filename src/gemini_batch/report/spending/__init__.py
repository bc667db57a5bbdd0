"""What the runs of a state folder used and cost: read, summed up, and shown in words, as CSV and as a page."""
