"""A model and texts -> what happens inside: hidden states, attention and attribution, as arrays and as pages."""
