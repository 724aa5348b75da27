"""What a call may ask for under each convention."""

from contextlib import contextmanager

from hypothesis import reject

import roialign_cy as ra
from roialign_cy.conventions import MODE_OF_SAMPLING, find_convention


def allowed(options):
    """Options of a call, without what its convention has no choice of."""
    if find_convention(options["convention"]).sampling in MODE_OF_SAMPLING:
        return options | {"mode": None, "sampling_ratio": None}
    return options


@contextmanager
def what_the_backend_offers():
    """Leave out an example that the backend says it cannot run: a plugin, the others run all."""
    try:
        yield
    except ra.BackendUnavailableError:
        reject()
