"""Tables in and out: from a user's rows to requests, and from answers to the rows with new columns."""
