"""`python -m aicc`: the command line."""

from aicc.cli import main

if __name__ == "__main__":
    main()
