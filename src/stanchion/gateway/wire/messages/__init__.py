"""Anthropic's messages, as its clients send and read them."""
