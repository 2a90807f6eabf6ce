"""What to try next, and why. Sees specs, diagnoses and effects; never a model, a gate item or a label."""
