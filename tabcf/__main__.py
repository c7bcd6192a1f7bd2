"""`python -m tabcf`: the command line."""

from tabcf.cli import main

if __name__ == "__main__":
    main()
