"""Training: batches, the optimisation loop, the fine-tuning job. Not here: choosing data (`curate/`), judging (`judge/`)."""
