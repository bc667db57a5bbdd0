"""One module per verb: what a command does, for the command line and the library alike."""
