"""One answer for a whole text, or for a pair: a class, several, or a number."""
