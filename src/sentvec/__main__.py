"""`python -m sentvec`: the same as the `sentvec` command."""

from sentvec.cli.app import main

if __name__ == "__main__":
    main()
