"""The pages: each one reads doors, and gives a template what it shows."""
