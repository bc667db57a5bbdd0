"""``python -m gemini_batch``."""

from gemini_batch.start import main

main()
