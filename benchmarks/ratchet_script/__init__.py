"""A training script that is really edited, and what stands outside of it; for `benchmarks/ratchet.py`."""
