"""The regression gate: whether a change of the library made it slower.

``python -m benchmarks.gate --base REV [--head REV]``; see ``docs/benchmarking.md``.
"""
