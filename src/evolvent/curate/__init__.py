"""Choosing training data among what a model made itself. Not here: training on it (`train/`), judging (`judge/`)."""
