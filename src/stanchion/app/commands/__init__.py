"""What the commands do. Each is loaded only when it is run, so that `--help` stays fast."""
