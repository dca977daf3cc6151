"""Images and audio out of what callers send: bounded before they are opened, decoded by lazily loaded libraries."""
