"""How near the meanings of two texts are, by vectors of each."""
