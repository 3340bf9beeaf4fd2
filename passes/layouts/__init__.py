"""Which order the dims of tensors lie in: what `assign-layouts` is made of.

A layout is a permutation: the tensor that lies in memory is the model's own, transposed by it.
`rules` says for each op in which layouts it can work, `problem` what an assignment costs, `solve`
finds a cheap one, and `absorb` has constants and addresses take over what transposes are left.
"""
