"""The work on batches: input lines in, output lines out, from checkpoint to checkpoint."""
