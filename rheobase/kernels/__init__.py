"""Neurons in one pass over memory: C code made from their own `dynamics`, compiled once, kept on disk.

`dynamics` stays the reference; where there is no kernel (no compiler, a GPU, parameters that learn, dynamics beyond
arithmetic), it runs as it is.
"""

from rheobase.kernels.neuron import Kernel, Response, kernel_of

__all__ = ["Kernel", "Response", "kernel_of"]
