"""The ledger: the database of runs, jobs, files and intents."""
