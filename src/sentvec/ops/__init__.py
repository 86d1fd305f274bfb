"""Pure functions on tensors: pooling, similarity, post-processing."""
