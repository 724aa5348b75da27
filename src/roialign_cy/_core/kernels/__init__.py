"""The kernels, one module per CPU variant and working type."""
