"""Objects in a bucket in the place of local files: addresses, transfers, and the lock of what is written there."""
