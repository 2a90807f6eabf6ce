"""What past changes were worth. Not here: decisions (`propose/`), proof (`judge/`)."""
