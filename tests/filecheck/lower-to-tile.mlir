// RUN: aicc opt %s -p lower-to-tile | filecheck %s

// A row in one tile: masked at its end, reduced with the neutral element there. The function has
// the kernel's name already.
// CHECK-LABEL: func.func @softmax
// CHECK: tile.launch %x {kernel = "softmax_1"} : tensor<4x300xf32>
func.func @softmax(%x: tensor<4x300xf32>) -> tensor<4x300xf32> {
  %0 = graph.fused %x {role = "reduction", label = "softmax"} : tensor<4x300xf32> {
  ^bb0(%a: tensor<4x300xf32>):
    %s = graph.softmax %a {axis = 1} : tensor<4x300xf32>
    graph.yield %s : (tensor<4x300xf32>) -> ()
  }
  func.return %0 : tensor<4x300xf32>
}

// Views are addresses: a transposed operand is read with other strides, nothing is moved.
// CHECK-LABEL: func.func @transposed
// CHECK: tile.launch %x, %y {kernel = "add"}
func.func @transposed(%x: tensor<8x5xf32>, %y: tensor<5x8xf32>) -> tensor<5x8xf32> {
  %0 = graph.fused %x, %y {role = "pointwise", label = "add"} : (tensor<8x5xf32>, tensor<5x8xf32>) -> tensor<5x8xf32> {
  ^bb0(%a: tensor<8x5xf32>, %b: tensor<5x8xf32>):
    %t = graph.transpose %a {permutation = [1, 0]} : (tensor<8x5xf32>) -> tensor<5x8xf32>
    %s = graph.add %t, %b : tensor<5x8xf32>
    graph.yield %s : (tensor<5x8xf32>) -> ()
  }
  func.return %0 : tensor<5x8xf32>
}

// What has no lowering is put back: no dot multiplies i64.
// CHECK-LABEL: func.func @left
// CHECK-NEXT: graph.matmul %x, %x : tensor<3x3xi64>
func.func @left(%x: tensor<3x3xi64>) -> tensor<3x3xi64> {
  %0 = graph.fused %x {role = "contraction", label = "matmul"} : tensor<3x3xi64> {
  ^bb0(%a: tensor<3x3xi64>):
    %m = graph.matmul %a, %a : tensor<3x3xi64>
    graph.yield %m : (tensor<3x3xi64>) -> ()
  }
  func.return %0 : tensor<3x3xi64>
}

// A pad of columns with channels last: a place counted through both says what is inside, and there
// are two axes, rows and columns' channels, to go over.
// CHECK-LABEL: func.func @padded
// CHECK: tile.launch %x {kernel = "pad"}
func.func @padded(%x: tensor<4x5x3xf32>) -> tensor<6x7x3xf32> {
  %0 = graph.fused %x {role = "pointwise", label = "pad"} : (tensor<4x5x3xf32>) -> tensor<6x7x3xf32> {
  ^bb0(%a: tensor<4x5x3xf32>):
    %c = graph.constant dense<0.0> : tensor<f32>
    %p = graph.pad %a, %c {low = [1, 1, 0], high = [1, 1, 0]} : (tensor<4x5x3xf32>, tensor<f32>) -> tensor<6x7x3xf32>
    graph.yield %p : (tensor<6x7x3xf32>) -> ()
  }
  func.return %0 : tensor<6x7x3xf32>
}

// CHECK: tile.kernel {sym_name = "softmax_1"
// CHECK: %[[INSIDE:.*]] = tile.in_bounds
// CHECK: tile.load {{.*}}, %[[INSIDE]], {{.*}} {strides = [300, 1]}
// CHECK: tile.full {value = -inf}
// CHECK: tile.select
// CHECK: tile.reduce {{.*}} {kind = "max", dim = 1}
// CHECK: tile.reduce {{.*}} {kind = "add", dim = 1}
// CHECK: tile.store {{.*}} {strides = [300, 1]}
// CHECK: tile.return

// CHECK: tile.kernel {sym_name = "add"
// CHECK: tile.load {{.*}} {strides = [1, 5]}
// CHECK: tile.load {{.*}} {strides = [8, 1]}
// CHECK: arith.addf

// CHECK: tile.kernel {sym_name = "pad"
// CHECK: tile.store {{.*}} {strides = [21, 1]}
