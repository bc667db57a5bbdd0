"""A local Gemini API: files, batches, models, with real persistence and a clock that can be moved.

It is its own world. Of the rest of this package it knows the error tree, the JSONL helpers and the catalog of models,
and nothing else, so that a misreading of the service cannot hide on both sides of the wire. Start it with
:func:`gemini_batch.emulator.http.server.serve` (in a thread) or :func:`gemini_batch.emulator.http.server.run_forever`.
"""
