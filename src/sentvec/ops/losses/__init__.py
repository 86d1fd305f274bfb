"""Losses: vectors or scores in, one number to make smaller out; no model and no text. One file per family."""
