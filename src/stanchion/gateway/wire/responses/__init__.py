"""OpenAI's Responses API, as its clients send and read it, without state on the gateway's side."""
