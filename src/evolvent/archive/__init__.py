"""Archives: everything that was tried, and whose child is tried next. Not here: who is promoted (`judge/`)."""
