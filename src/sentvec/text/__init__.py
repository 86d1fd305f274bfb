"""Text <-> token ids, and long documents <-> passages."""
