"""The benchmarks of this backend."""
