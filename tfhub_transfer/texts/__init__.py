"""Texts, and nothing but texts: lists of words put together, sentences."""
