"""Searches for what trains best, of one process or of several, and their notes."""
