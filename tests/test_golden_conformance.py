"""What other projects' own tests expect of their RoI Align, on every backend."""

import golden
import numpy as np
import pytest

import roialign_cy as ra


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("case", golden.conformance(), ids=lambda case: case.id)
def test_output_is_what_the_project_expects(case, layout, backend):
    features, expected = case.features, case.expected
    if layout == "NHWC":
        features = np.ascontiguousarray(np.moveaxis(features, 1, -1))
        expected = np.moveaxis(expected, 1, -1)

    output = ra.roi_align(features, case.rois, layout=layout, backend=backend, **case.options)

    assert output.dtype == features.dtype
    assert output.shape == expected.shape
    np.testing.assert_allclose(output, expected, rtol=0, atol=case.atol)
