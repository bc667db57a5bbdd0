"""The results of a run over shards."""
