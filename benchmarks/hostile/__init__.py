"""What hostile inputs do to each implementation: ``python -m benchmarks.hostile``."""
