"""Models out as SavedModels, strings in and answers out, and back."""
