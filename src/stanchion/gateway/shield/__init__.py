"""What stands around every call: privacy and rails, over requests, whole answers and streamed ones."""
