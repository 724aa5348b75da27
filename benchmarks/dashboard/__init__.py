"""The dashboard, a site that needs no network: ``python -m benchmarks.dashboard``."""
