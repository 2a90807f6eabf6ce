"""Reasoning programs around a model: direct, vote, execute-reflect-retry. They are handed what they run."""
