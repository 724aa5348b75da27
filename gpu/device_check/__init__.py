"""What to run on a device: whether the kernels are right there, and how long they take."""
