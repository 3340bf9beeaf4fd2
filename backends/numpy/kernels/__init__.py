"""NumPy kernels: pure functions of arrays, one module a family of ops."""
