"""What happens while `fit` runs: thawing, the best epoch kept, callbacks of users' own."""
