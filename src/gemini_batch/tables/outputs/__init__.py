"""Tables out: the source rows with their answers as columns, in the format of the file name."""
