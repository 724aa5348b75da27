"""Times all available backends side by side: ``python -m benchmarks.compare``."""
