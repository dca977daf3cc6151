"""Batch inference: files read in chunks, checked by column, predicted, and put in place at once when all is done."""
