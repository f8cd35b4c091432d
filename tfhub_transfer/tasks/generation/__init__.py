"""Tasks whose answer is text: translations, summaries in new words, turns of a dialogue."""
