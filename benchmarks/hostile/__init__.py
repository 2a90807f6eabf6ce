"""The attacks of `benchmarks/attacks.py`, by what they are aimed at. `base` says what an attack is and how it can end."""
