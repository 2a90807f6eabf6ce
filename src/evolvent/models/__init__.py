"""Models: the built-in transformer, its tokenizers, the sampler, and loading. Not here: training (`train/`)."""
