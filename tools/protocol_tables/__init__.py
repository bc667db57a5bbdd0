"""Generates ``src/gemini_batch/protocol/schema.json`` from the API's published schema.

Usage: ``PYTHONPATH=tools python -m protocol_tables generativelanguage.v1beta.openapi.json``. Only facts are taken:
names, types, lists of words, required fields and ranges. No text of the schema is copied.
"""
