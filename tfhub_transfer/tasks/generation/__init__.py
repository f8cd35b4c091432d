"""Texts as answers."""
