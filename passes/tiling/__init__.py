"""How a fused kernel becomes a program over tiles: what `lower-to-tile` is made of.

`nodes` follows each element of a result back to the memory that it comes from; `scalars` says what
an op is in `arith` and `math`; `emitter` writes tile ops; the other modules are one kind of kernel
each.
"""
