"""``python -m roialign_cy.testing --roialign-backend NAME``."""

import sys

import pytest

KIT = ["-p", "roialign_cy.testing.plugin", "--pyargs", "roialign_cy.testing"]

if __name__ == "__main__":
    sys.exit(pytest.main([*KIT, *sys.argv[1:]]))
