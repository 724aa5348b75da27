"""``python -m roialign_cy.testing --roialign-backend NAME``."""

import sys

import pytest

# Without the options that a project in this folder gives to its own tests.
KIT = ["-o", "addopts=", "-p", "roialign_cy.testing.plugin", "--pyargs", "roialign_cy.testing"]

if __name__ == "__main__":
    sys.exit(pytest.main([*KIT, *sys.argv[1:]]))
