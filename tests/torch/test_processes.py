"""`roialign_cy.torch` and what surrounds it: threads, worker processes, a missing torch."""

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch", reason="needs the extra 'peers'")

import roialign_cy as ra  # noqa: E402
from roialign_cy.torch import _bridge, roi_align  # noqa: E402

from .cases import maps, rois  # noqa: E402  it needs torch, too

TIMEOUT_S = 300  # a hundred times what it takes: a deadlock must not hang the suite


@pytest.mark.parametrize(
    ("torchs", "ours", "expected"), [(1, 2, 1), (2, 1, 1), (3, 2, 2), (2, 3, 2)]
)
def test_both_limits_of_threads_bind(torchs, ours, expected, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: torchs)
    monkeypatch.setattr(_bridge, "get_num_threads", lambda: ours)
    numbers = []

    def function(features, rois, num_threads):
        numbers.append(num_threads)
        return features

    _bridge.on_cpu(function, (maps(), rois()), maps)
    assert numbers == [expected]


def run(program):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def test_workers_of_a_data_loader_do_not_hang():
    finished = run("""
        import torch
        from roialign_cy.torch import roi_align

        features = torch.ones(1, 64, 128, 128, requires_grad=True)
        boxes = torch.tensor([[0, 1.0, 1.0, 100.0, 100.0]]).repeat(200, 1)
        roi_align(features, boxes, 7).sum().backward()  # starts the threads that no fork keeps

        class Crops(torch.utils.data.Dataset):
            def __len__(self):
                return 4
            def __getitem__(self, index):
                return roi_align(features.detach(), boxes, 7).mean()

        loader = torch.utils.data.DataLoader(Crops(), num_workers=2, multiprocessing_context="fork")
        print([round(float(batch), 3) for batch in loader])
    """)
    assert finished.stdout.strip() == "[1.0, 1.0, 1.0, 1.0]", finished.stderr


def test_the_package_does_not_import_torch():
    finished = run("import sys, roialign_cy; print('torch' in sys.modules)")
    assert finished.stdout.strip() == "False", finished.stderr


def test_without_torch_it_says_what_to_install():
    finished = run("""
        import sys
        sys.modules["torch"] = None
        try:
            import roialign_cy.torch
        except ImportError as error:
            print(error)
    """)
    assert "pip install 'roialign_cy[torch]'" in finished.stdout, finished.stderr


def test_named_backends_are_respected(monkeypatch):
    monkeypatch.setenv("ROIALIGN_BACKEND", "gpu")
    if ra.backends.unavailable_reason("gpu") is None:
        pytest.skip("there is a GPU")
    with pytest.raises(ra.BackendUnavailableError, match="gpu"):
        roi_align(maps(), rois(), 3)
