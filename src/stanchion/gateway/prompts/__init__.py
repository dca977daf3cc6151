"""Prompts: templates with typed gaps, their versions and labels."""
