"""Benchmarks of the library, alone and beside other implementations; not installed with it."""
