"""What to say: summaries, results, job views, next steps."""
