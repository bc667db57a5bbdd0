"""Turns raw answer lines into results: verdicts, result lines, media, usage. Pure; knows nothing of runs."""
