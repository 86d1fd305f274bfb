"""Text -> vectors: planning batches, running the encoder, on whatever device there is."""
