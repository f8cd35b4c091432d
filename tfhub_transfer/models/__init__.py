"""Encoder and task as one Keras model: built, asked, saved, loaded."""
