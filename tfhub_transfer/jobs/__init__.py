"""Whole jobs from files to files: what each command does, and the options that it has.

Nothing is imported here: the options of a command are read without what runs it.
"""
