// RUN: aicc opt %s -p plan-memory | filecheck %s

// Four launches in a row: what is dead when the third begins lies where the third writes. `double`
// reads each element where it writes it, so that its result takes its operand's place. What is
// returned has memory of its own.
// CHECK-LABEL: func.func @main
// CHECK: tile.alloc {offset = [0], live = [0, 1]} : tensor<64xf32>
// CHECK-NEXT: tile.launch %x, %0 {kernel = "double"}
// CHECK-NEXT: tile.alloc {offset = [0], live = [1, 2]} : tensor<64xf32>
// CHECK: tile.alloc : tensor<64xf32>
// CHECK-NEXT: tile.launch %3, %4 {kernel = "double"}
func.func @main(%x: tensor<64xf32>) -> tensor<64xf32> {
  %0 = tile.launch %x {kernel = "double"} : tensor<64xf32>
  %1 = tile.launch %0 {kernel = "double"} : tensor<64xf32>
  %2 = tile.launch %1 {kernel = "double"} : tensor<64xf32>
  func.return %2 : tensor<64xf32>
}

// A size that only the arguments tell: offsets are expressions over it.
// CHECK-LABEL: func.func @sizes
// CHECK: tile.alloc {offset = [0], live = [0, 2]}
// CHECK: tile.alloc {offset = [floordiv(n + 63, 64) * 256], live = [1, 2]}
func.func @sizes(%x: tensor<?xf32, #graph.dims<n>>) -> tensor<?xf32, #graph.dims<n>> {
  %0 = tile.launch %x {kernel = "double"} : tensor<?xf32, #graph.dims<n>>
  %1 = tile.launch %x {kernel = "double"} : tensor<?xf32, #graph.dims<n>>
  %2 = tile.launch %0, %1 {kernel = "joined"} : (tensor<?xf32, #graph.dims<n>>, tensor<?xf32, #graph.dims<n>>) -> tensor<?xf32, #graph.dims<n>>
  func.return %2 : tensor<?xf32, #graph.dims<n>>
}

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

tile.kernel {sym_name = "joined", grid = [floordiv(n - 1, BLOCK) + 1], inputs = 2, schedule = {BLOCK = 8}} {
^bb0(%x: !tile.buffer<[n], f32>, %y: !tile.buffer<[n], f32>, %out: !tile.buffer<[n], f32>):
  %p = tile.program_id {axis = 0} : index
  %b = tile.size {value = [BLOCK]} : index
  %first = arith.muli %p, %b : index
  %i = tile.axis %first {block = [BLOCK], bound = [n], dim = 0, rank = 1} : (index) -> tensor<?xindex, #graph.dims<BLOCK>>
  %inside = tile.in_bounds %i : (tensor<?xindex, #graph.dims<BLOCK>>) -> tensor<?xi1, #graph.dims<BLOCK>>
  %v = tile.load %x, %inside, %i {strides = [1]} : (!tile.buffer<[n], f32>, tensor<?xi1, #graph.dims<BLOCK>>, tensor<?xindex, #graph.dims<BLOCK>>) -> tensor<?xf32, #graph.dims<BLOCK>>
  %w = tile.load %y, %inside, %i {strides = [1]} : (!tile.buffer<[n], f32>, tensor<?xi1, #graph.dims<BLOCK>>, tensor<?xindex, #graph.dims<BLOCK>>) -> tensor<?xf32, #graph.dims<BLOCK>>
  %d = arith.addf %v, %w : tensor<?xf32, #graph.dims<BLOCK>>
  tile.store %d, %out, %inside, %i {strides = [1]} : (tensor<?xf32, #graph.dims<BLOCK>>, !tile.buffer<[n], f32>, tensor<?xi1, #graph.dims<BLOCK>>, tensor<?xindex, #graph.dims<BLOCK>>) -> ()
  tile.return
}
