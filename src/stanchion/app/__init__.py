"""What people and programs meet: the command line, the HTTP application and the console."""
