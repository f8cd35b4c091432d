"""What a model is worth: the numbers of its report, and what to know before believing them."""
