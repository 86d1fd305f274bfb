"""A model and sets of real data in; how good its vectors are, with intervals and tests, out."""
