"""OpenAI's chat completions, as its clients send and read them."""
