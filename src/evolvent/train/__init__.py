"""Training: batches, optimisation loop, fine-tuning job. Not here: choosing data (`curate/`), judging (`judge/`)."""
