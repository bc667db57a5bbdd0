"""Tests of `store`: the two databases, their schemas and the locks of runs."""
