"""Bulk encoding over many machines: rows and a model in, a folder of parts out."""
