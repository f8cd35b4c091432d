"""Labels for texts: which to ask for, asked in a terminal or by files of other tools."""
