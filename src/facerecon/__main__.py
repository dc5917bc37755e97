"""`python -m facerecon` is the `facerecon` command."""

from facerecon.cli import main

if __name__ == "__main__":
    main()
