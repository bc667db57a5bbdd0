"""Fault injection: the kinds of faults, the named scenarios, the effects on rows and output files."""
