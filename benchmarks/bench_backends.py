"""What `roialign_cy.bench.suite` measures of every backend: speed, errors, and both beside ours."""

from roialign_cy.bench.suite import (
    Accuracy,
    Backward,
    Forward,
    GradientAccuracy,
    Relative,
)

__all__ = ["Accuracy", "Backward", "Forward", "GradientAccuracy", "Relative"]
