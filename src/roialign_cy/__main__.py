"""``python -m roialign_cy`` is the command ``roialign``."""

from ._cli import main

main()
