"""The conformance kit, on this library's own backends."""

from roialign_cy.testing.test_calls import *
from roialign_cy.testing.test_conformance import *
from roialign_cy.testing.test_document import *
