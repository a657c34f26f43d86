"""`python -m alternet.cli`, the form that torchrun starts."""

from alternet_begin import main

main()
