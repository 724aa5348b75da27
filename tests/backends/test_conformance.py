"""The conformance kit, on this library's own backends."""

from roialign_cy.testing.all_tests import *
