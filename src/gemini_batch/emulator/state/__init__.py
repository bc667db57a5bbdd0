"""What the emulator stores: the database and its blobs, the clock, models, files, quotas, accounting."""
