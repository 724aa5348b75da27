"""The asv suite of roialign_cy, on this backend beside its own."""

from roialign_cy.bench.suite import Accuracy, Backward, Forward

__all__ = ["Accuracy", "Backward", "Forward"]
