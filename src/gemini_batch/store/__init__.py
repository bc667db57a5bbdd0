"""What is written down: the ledger, a run's rows, SQLite, the state folder."""
