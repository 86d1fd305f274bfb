"""Vectors -> the nearest ids; knows nothing of text or models."""
