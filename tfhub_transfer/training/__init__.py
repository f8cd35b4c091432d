"""Stages of training, what they are judged by, and what they left."""
