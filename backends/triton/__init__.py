"""The Triton target: kernels as Python source, run on a GPU or in Triton's interpreter."""
