"""`python -m fyke` is the `fyke` command."""

from fyke.cli import main

main()
