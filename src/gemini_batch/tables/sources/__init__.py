"""Tables in: what holds rows, and how it becomes a snapshot."""
