"""A training script that is really edited, and what stands outside of it. Not here: which edits are kept."""
