"""`python -m alternet.cli`, the form that torchrun starts."""

from alternet.cli import main

main()
