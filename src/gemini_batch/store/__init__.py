"""Stores what must last: the ledger, a run's rows, the SQLite databases, the state folder."""
