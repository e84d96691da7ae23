"""`python -m velocity` is the command `velocity`."""

from velocity.cli import main

main()
