// A kernel over one axis whose size is an argument of its launch.
builtin.module {
  tile.kernel {sym_name = "double", grid = [floordiv(n - 1, BLOCK) + 1], inputs = 1, schedule = {BLOCK = 8}} {
  ^bb0(%x: !tile.buffer<[n], f32>, %out: !tile.buffer<[n], f32>):
    %p = tile.program_id {axis = 0} : index
    %b = tile.size {value = [BLOCK]} : index
    %first = arith.muli %p, %b : index
    %i = tile.axis %first {block = [BLOCK], bound = [n], dim = 0, rank = 1} : (index) -> tensor<?xindex, #graph.dims<BLOCK>>
    %inside = tile.in_bounds %i : (tensor<?xindex, #graph.dims<BLOCK>>) -> tensor<?xi1, #graph.dims<BLOCK>>
    %v = tile.load %x, %inside, %i {strides = [1]} : (!tile.buffer<[n], f32>, tensor<?xi1, #graph.dims<BLOCK>>, tensor<?xindex, #graph.dims<BLOCK>>) -> tensor<?xf32, #graph.dims<BLOCK>>
    %d = arith.addf %v, %v : tensor<?xf32, #graph.dims<BLOCK>>
    tile.store %d, %out, %inside, %i {strides = [1]} : (tensor<?xf32, #graph.dims<BLOCK>>, !tile.buffer<[n], f32>, tensor<?xi1, #graph.dims<BLOCK>>, tensor<?xindex, #graph.dims<BLOCK>>) -> ()
    tile.return
  }
}
