"""A local Gemini API: files, batches, models, with real persistence and a clock that can be advanced.

It is independent: of the rest of this package it imports the errors, the JSONL helpers and the model catalog, and
nothing else, so a misreading of the service cannot hide on both sides of the wire. Its rooms, bottom up: ``messages``,
``state``, ``responders``, ``faults``, ``engine``, ``service``, ``http``. Start it with
:func:`gemini_batch.emulator.http.server.serve` (in a thread) or :func:`gemini_batch.emulator.http.server.run_forever`.
"""
