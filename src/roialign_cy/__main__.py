"""``python -m roialign_cy`` is the command ``roialign``."""

from .cli import main

main()
