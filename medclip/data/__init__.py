"""From files to batches: tables, cached pixels, sentences, samplers and the loader."""
