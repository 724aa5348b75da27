"""The asv suite, the gate and the history of the library; not installed with it.

Other versions of the library are measured as well, all by the workloads of this checkout: its
`roialign_cy.bench` stands in for theirs.
"""

import importlib.util
import sys
from pathlib import Path

_BENCH = Path(__file__).parents[1] / "src" / "roialign_cy" / "bench"

if _BENCH.is_dir() and "roialign_cy.bench" not in sys.modules:
    _spec = importlib.util.spec_from_file_location(
        "roialign_cy.bench", _BENCH / "__init__.py", submodule_search_locations=[str(_BENCH)]
    )
    assert _spec is not None
    assert _spec.loader is not None
    sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[_spec.name])
