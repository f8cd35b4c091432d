"""What is wrong with labelled texts: duplicates, leakage, labels in doubt, what gives them away."""
