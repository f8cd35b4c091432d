"""Trainings: of one model, beside others, again, from teachers, and on the sample."""
