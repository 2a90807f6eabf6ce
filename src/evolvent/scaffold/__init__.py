"""Reasoning programs around a model: a small language, what runs it, what edits it. They are handed what they run."""
