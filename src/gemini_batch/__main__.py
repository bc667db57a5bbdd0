"""``python -m gemini_batch``."""

from gemini_batch.cli import main

main()
