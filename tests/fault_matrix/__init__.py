"""Eight situations that everybody who batches meets, and whether the three commands are right in each."""
