"""What can be made to go wrong: the model of a fault, the named scenarios, their effects on rows and outputs."""
