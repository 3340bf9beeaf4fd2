// RUN: aicc opt %s -p fuse,dce | filecheck %s

// One kernel: elements, broadcasts, scalars (written into it), and two results of one shape.
// CHECK-LABEL: @elements
func.func @elements(%x: tensor<8x4xf32>, %b: tensor<4xf32>) -> (tensor<8x4xf32>, tensor<8x4xf32>) {
  // CHECK-NOT: graph.constant
  // CHECK: graph.fused %x, %b {role = "pointwise", label = "add_relu_mul"}
  // CHECK: graph.constant dense<2.0>
  // CHECK: graph.yield
  // CHECK-NEXT: }
  // CHECK-NEXT: func.return
  %two = graph.constant dense<2.0> : tensor<f32>
  %0 = graph.add %x, %b : (tensor<8x4xf32>, tensor<4xf32>) -> tensor<8x4xf32>
  %1 = graph.relu %0 : tensor<8x4xf32>
  %2 = graph.mul %1, %two : (tensor<8x4xf32>, tensor<f32>) -> tensor<8x4xf32>
  func.return %1, %2 : tensor<8x4xf32>, tensor<8x4xf32>
}

// Reductions over the same rows, what feeds them and what follows.
// CHECK-LABEL: @rows
func.func @rows(%x: tensor<8x4xf32>, %r: tensor<8x4xf32>) -> tensor<8x4xf32> {
  // CHECK: graph.fused %x, %r {role = "reduction", label = "reduce_max_reduce_sum_add_sub"}
  // CHECK: graph.div
  // CHECK-NEXT: graph.yield
  // CHECK-NEXT: }
  // CHECK-NEXT: func.return
  %0 = graph.add %x, %r : tensor<8x4xf32>
  %1 = graph.reduce_max %0 {axes = [1], keepdims = true} : (tensor<8x4xf32>) -> tensor<8x1xf32>
  %2 = graph.sub %0, %1 : (tensor<8x4xf32>, tensor<8x1xf32>) -> tensor<8x4xf32>
  %3 = graph.exp %2 : tensor<8x4xf32>
  %4 = graph.reduce_sum %3 {axes = [1]} : (tensor<8x4xf32>) -> tensor<8xf32>
  %5 = graph.reshape %4 {shape = [8, 1]} : (tensor<8xf32>) -> tensor<8x1xf32>
  %6 = graph.div %3, %5 : (tensor<8x4xf32>, tensor<8x1xf32>) -> tensor<8x4xf32>
  func.return %6 : tensor<8x4xf32>
}

// Other rows are another kernel.
// CHECK-LABEL: @other_rows
func.func @other_rows(%x: tensor<8x8xf32>) -> tensor<8xf32> {
  // CHECK: graph.fused %x {role = "reduction", label = "reduce_sum_sub"}
  // CHECK: graph.fused {{.*}} {role = "reduction", label = "reduce_max"}
  %0 = graph.reduce_sum %x {axes = [1], keepdims = true} : (tensor<8x8xf32>) -> tensor<8x1xf32>
  %1 = graph.sub %x, %0 : (tensor<8x8xf32>, tensor<8x1xf32>) -> tensor<8x8xf32>
  %2 = graph.reduce_max %1 {axes = [0]} : (tensor<8x8xf32>) -> tensor<8xf32>
  func.return %2 : tensor<8xf32>
}

// Channels in groups: a row's elements are written in the order in which they lie, whatever their
// shape is called; so is the sum that the row is made from.
// CHECK-LABEL: @groups
func.func @groups(%x: tensor<2x6x5xf32>, %y: tensor<2x6x5xf32>, %s: tensor<6x1xf32>) -> (tensor<2x6x5xf32>, tensor<2x6x5xf32>) {
  // CHECK: graph.fused %x, %y, %s {role = "reduction"
  // CHECK: graph.yield %{{.*}}, %{{.*}} :
  // CHECK-NEXT: }
  // CHECK-NEXT: func.return
  %0 = graph.add %x, %y : tensor<2x6x5xf32>
  %1 = graph.reshape %0 {shape = [2, 2, 15]} : (tensor<2x6x5xf32>) -> tensor<2x2x15xf32>
  %2 = graph.softmax %1 {axis = 2} : tensor<2x2x15xf32>
  %3 = graph.reshape %2 {shape = [2, 6, 5]} : (tensor<2x2x15xf32>) -> tensor<2x6x5xf32>
  %4 = graph.mul %3, %s : (tensor<2x6x5xf32>, tensor<6x1xf32>) -> tensor<2x6x5xf32>
  %5 = graph.relu %4 : tensor<2x6x5xf32>
  func.return %0, %5 : tensor<2x6x5xf32>, tensor<2x6x5xf32>
}

// A reshape that only some elements are read through is another matter.
// CHECK-LABEL: @group_means
func.func @group_means(%x: tensor<2x6x5xf32>) -> tensor<2x3x2xf32> {
  // CHECK: graph.fused %x {role = "reduction"
  // CHECK: graph.fused {{.*}} {role = "pointwise"
  %1 = graph.reshape %x {shape = [4, 15]} : (tensor<2x6x5xf32>) -> tensor<4x15xf32>
  %2 = graph.softmax %1 {axis = 1} : tensor<4x15xf32>
  %3 = graph.reshape %2 {shape = [2, 3, 10]} : (tensor<4x15xf32>) -> tensor<2x3x10xf32>
  %4 = graph.slice %3 {axes = [2], starts = [0], limits = [2], steps = [1]} : (tensor<2x3x10xf32>) -> tensor<2x3x2xf32>
  func.return %4 : tensor<2x3x2xf32>
}

// Behind a reduction a transpose reads other rows, though the shape is the same.
// CHECK-LABEL: @transposed
func.func @transposed(%x: tensor<8x8xf32>) -> tensor<8x8xf32> {
  // CHECK: graph.fused %x {role = "reduction", label = "reduce_sum_sub"}
  // CHECK: graph.fused {{.*}} {role = "pointwise", label = "exp"}
  %0 = graph.reduce_sum %x {axes = [1], keepdims = true} : (tensor<8x8xf32>) -> tensor<8x1xf32>
  %1 = graph.sub %x, %0 : (tensor<8x8xf32>, tensor<8x1xf32>) -> tensor<8x8xf32>
  %2 = graph.transpose %1 {permutation = [1, 0]} : tensor<8x8xf32>
  %3 = graph.exp %2 : tensor<8x8xf32>
  func.return %3 : tensor<8x8xf32>
}

// A product with its operand's transpose, a constant scale, bias through a reshape, activation.
// CHECK-LABEL: @product
func.func @product(%x: tensor<2x3x4xf32>, %w: tensor<5x4xf32>, %b: tensor<5xf32>) -> tensor<2x3x5xf32> {
  // CHECK: graph.fused %x, %w, %b {role = "contraction", label = "matmul_mul_add_relu"}
  // CHECK: graph.relu
  // CHECK-NEXT: graph.yield
  // CHECK-NEXT: }
  // CHECK-NEXT: func.return
  %half = graph.constant dense<0.5> : tensor<f32>
  %0 = graph.reshape %x {shape = [6, 4]} : (tensor<2x3x4xf32>) -> tensor<6x4xf32>
  %1 = graph.transpose %w {permutation = [1, 0]} : (tensor<5x4xf32>) -> tensor<4x5xf32>
  %2 = graph.mul %1, %half : (tensor<4x5xf32>, tensor<f32>) -> tensor<4x5xf32>
  %3 = graph.matmul %0, %2 : (tensor<6x4xf32>, tensor<4x5xf32>) -> tensor<6x5xf32>
  %4 = graph.reshape %3 {shape = [2, 3, 5]} : (tensor<6x5xf32>) -> tensor<2x3x5xf32>
  %5 = graph.add %4, %b : (tensor<2x3x5xf32>, tensor<5xf32>) -> tensor<2x3x5xf32>
  %6 = graph.relu %5 : tensor<2x3x5xf32>
  func.return %6 : tensor<2x3x5xf32>
}

// Elements before a product stay apart: they would be computed for each tile.
// CHECK-LABEL: @before_product
func.func @before_product(%x: tensor<6x4xf32>, %w: tensor<4x5xf32>) -> tensor<6x5xf32> {
  // CHECK: graph.fused %x {role = "pointwise", label = "exp"}
  // CHECK: graph.fused {{.*}} {role = "contraction", label = "matmul"}
  %0 = graph.exp %x : tensor<6x4xf32>
  %1 = graph.matmul %0, %w : (tensor<6x4xf32>, tensor<4x5xf32>) -> tensor<6x5xf32>
  func.return %1 : tensor<6x5xf32>
}

// exp(x) feeds the sort and the sum with what the sort gives: one kernel of both would need itself.
// CHECK-LABEL: @cycle
func.func @cycle(%x: tensor<8xf32>) -> tensor<8xf32> {
  // CHECK: graph.fused %x {role = "pointwise", label = "exp"}
  // CHECK: graph.sort
  // CHECK: graph.fused {{.*}} {role = "pointwise", label = "add"}
  %0 = graph.exp %x : tensor<8xf32>
  %1, %2 = graph.sort %0 {axis = 0} : (tensor<8xf32>) -> (tensor<8xf32>, tensor<8xi64>)
  %3 = graph.add %0, %1 : tensor<8xf32>
  func.return %3 : tensor<8xf32>
}

// The same elements in the same order are no kernel.
// CHECK-LABEL: @alias
func.func @alias(%x: tensor<8x4xf32>) -> tensor<32xf32> {
  // CHECK-NOT: graph.fused
  %0 = graph.reshape %x {shape = [32]} : (tensor<8x4xf32>) -> tensor<32xf32>
  func.return %0 : tensor<32xf32>
}
