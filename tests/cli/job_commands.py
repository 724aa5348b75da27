"""`roialign pool` in the present folder, and jobs of several steps that stop in the middle."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from roialign_cy import _jobs
from roialign_cy._cli.commands import roialign

ROIS = np.array([[1, 2, 2, 9, 9], [0, 1, 3, 5, 5], [1, 0, 0, 4, 4.5]])
OPTIONS = {"-o": "out.npy", "--memory": "1", "--output-size": "24", "--sampling-ratio": "1"}
STEPS = ("maps.npy", "rois.npy", *(text for option in OPTIONS.items() for text in option))
"""Several, with the maps below."""


def save_maps_of_several_steps():
    np.save("maps.npy", np.random.default_rng(0).standard_normal((2, 40, 90, 90), np.float32))


def run(*arguments):
    return CliRunner().invoke(roialign, [*map(str, arguments)])


def pool(*arguments):
    result = run("pool", *arguments)
    assert result.exit_code == 0, result.output
    return result


def assert_refused(result, *texts):
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    for text in texts:
        assert text in line


def interrupted(*arguments, after=1):
    """Run until Ctrl-C after so many steps."""
    with pytest.MonkeyPatch.context() as patch:
        call, count = _jobs.Job.call, iter(range(after + 2))

        def stop(self, features, rois, *more):
            if len(rois) and next(count) == after:  # the call without boxes is a check
                raise KeyboardInterrupt
            return call(self, features, rois, *more)

        patch.setattr(_jobs.Job, "call", stop)
        result = run("pool", *arguments)
    assert result.exit_code == 1
    assert "--resume goes on" in result.stderr
    assert "Aborted!" in result.stderr


def names():
    return {path.name for path in Path().iterdir()} - {"maps.npy", "rois.npy"}
