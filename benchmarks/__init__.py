"""How fast this tool starts and how much memory it needs, next to the official SDK, in whole processes.

``python -m benchmarks`` runs all of it and ends with 1 if a target is missed; README.md says what each line means.
"""
