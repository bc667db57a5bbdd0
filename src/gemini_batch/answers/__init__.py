"""From raw answer lines to results: verdicts, result lines, media, summaries. Pure; knows no run."""
