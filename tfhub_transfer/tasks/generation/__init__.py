"""Tasks whose answer is text: translations, summaries in words of their own, turns of a dialogue."""
