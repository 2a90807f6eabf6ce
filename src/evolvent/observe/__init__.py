"""Watching a model work: rollouts, traces, diagnosis. Not here: decisions."""
