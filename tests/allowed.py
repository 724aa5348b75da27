"""What a call may ask for under each convention."""

from roialign_cy.conventions import MODE_OF_SAMPLING, find_convention


def allowed(options):
    """Options of a call, without what its convention has no choice of."""
    if find_convention(options["convention"]).sampling in MODE_OF_SAMPLING:
        return options | {"mode": None, "sampling_ratio": None}
    return options
