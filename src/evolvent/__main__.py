"""``python -m evolvent``: the command line."""

from evolvent.cli import main

if __name__ == "__main__":
    main()
