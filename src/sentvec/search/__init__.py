"""Collections: texts, files and queries -> ranked passages."""
