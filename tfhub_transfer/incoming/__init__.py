"""What comes from users, as Python's own and checked: values, numbers, words, texts."""
