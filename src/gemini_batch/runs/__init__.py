"""The durable run: what was planned, sent, seen and collected, kept on disk so that any command can go on from it."""
