"""The sentences of a document that sum it up."""
