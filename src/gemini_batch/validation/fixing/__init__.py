"""Corrects request lines: pure functions over decoded lines, and the pass that writes a corrected copy of a file."""
