"""Tensors as models take them: checked arrays, tables of fields, and what a declaration maps between the two."""
