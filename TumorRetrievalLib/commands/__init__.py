"""The commands of `tumor-retrieval`, one file for each group: arguments in, engine called, result shown."""
