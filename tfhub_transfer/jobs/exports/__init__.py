"""Exports made, checked and served."""
