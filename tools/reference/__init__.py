"""The generated pages of the reference, in ``docs/reference/``; ``make docs-reference`` writes them.

Each module has one ``page()`` that returns a whole page. A test compares the pages with the files.
"""
