"""What happens while `fit` runs: thawing, and callbacks of users' own beside it."""
