from roialign_cy.testing.all_tests import *  # noqa: F403
