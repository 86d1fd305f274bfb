"""Parts of encoders: plain numbers in, modules out; no configuration objects and no file names in here."""
