"""`python -m stanchion` is the command `stanchion`."""

from .app.cli import main

if __name__ == "__main__":
    main()
