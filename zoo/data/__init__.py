"""From text to batches: corpora, tokenizers, encoded datasets, and the windows that a model is trained on."""
