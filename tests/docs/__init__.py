"""Tests of what people and agents read: everything that a page tells to type is typed here."""
