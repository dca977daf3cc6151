"""Which language a text is written in, by its script, its letters and its commonest words. No model, no download."""
