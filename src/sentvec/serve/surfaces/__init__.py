"""What clients speak: one file for each API; requests in, calls of the engine and answers in that API's words out."""
