"""`python -m rewake`: the same as the `rewake` command."""

from rewake.cli.main import main

main()
