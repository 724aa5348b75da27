"""Calls of every public function with arguments of every kind, and a judge of what comes of them.

``python -m tests.fuzz`` runs as many as you like, ``python -m tests.fuzz.coverage`` lets their
coverage choose them, and ``test_fuzz.py`` runs a few in the ordinary suite.
"""

import os

# Read when the library is imported: ways that differ in their threads have them on a busy machine.
os.environ["ROIALIGN_IGNORE_LOAD"] = "1"
