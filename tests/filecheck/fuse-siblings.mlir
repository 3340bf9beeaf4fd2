// RUN: aicc opt %s -p fuse | filecheck %s

// Small kernels over one space that don't need one another start once.
// CHECK-LABEL: func.func @beside
// CHECK: %a, %b = graph.fused %x, %y {role = "pointwise", label = "exp_tanh"}
// CHECK: func.return %a, %b
func.func @beside(%x: tensor<4x8xf32>, %y: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
  %a = graph.exp %x : tensor<4x8xf32>
  %b = graph.tanh %y : tensor<4x8xf32>
  func.return %a, %b : tensor<4x8xf32>, tensor<4x8xf32>
}

// Sums over the same rows, too.
// CHECK-LABEL: func.func @sums
// CHECK: %a, %b = graph.fused %x, %y {role = "reduction", label = "reduce_sum_reduce_max"}
func.func @sums(%x: tensor<4x8xf32>, %y: tensor<4x8xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %a = graph.reduce_sum %x {axes = [1]} : (tensor<4x8xf32>) -> tensor<4xf32>
  %b = graph.reduce_max %y {axes = [1]} : (tensor<4x8xf32>) -> tensor<4xf32>
  func.return %a, %b : tensor<4xf32>, tensor<4xf32>
}

// Not where the one needs the other, here by way of a product …
// CHECK-LABEL: func.func @after
// CHECK: graph.fused %x {role = "pointwise", label = "exp"}
// CHECK: graph.fused {{.*}} {role = "contraction"
// CHECK: graph.fused {{.*}} {role = "pointwise", label = "tanh"}
func.func @after(%x: tensor<8x8xf32>) -> (tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>) {
  %a = graph.exp %x : tensor<8x8xf32>
  %p = graph.matmul %a, %a : tensor<8x8xf32>
  %r = graph.transpose %p {permutation = [1, 0]} : tensor<8x8xf32>
  %b = graph.tanh %r : tensor<8x8xf32>
  func.return %a, %p, %b : tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>
}

// … nor over different spaces …
// CHECK-LABEL: func.func @spaces
// CHECK-COUNT-2: graph.fused
func.func @spaces(%x: tensor<4x8xf32>, %y: tensor<8x4xf32>) -> (tensor<4x8xf32>, tensor<8x4xf32>) {
  %a = graph.exp %x : tensor<4x8xf32>
  %b = graph.tanh %y : tensor<8x4xf32>
  func.return %a, %b : tensor<4x8xf32>, tensor<8x4xf32>
}

// What both read is read once, also where another kernel stands between them.
// CHECK-LABEL: func.func @shared
// CHECK: %a, %c = graph.fused %x {role = "reduction", label = "reduce_sum_reduce_max"}
// CHECK: graph.fused %y {role = "reduction", label = "reduce_min"}
func.func @shared(%x: tensor<1024x1024xf32>, %y: tensor<1024x1024xf32>)
    -> (tensor<1024xf32>, tensor<1024xf32>, tensor<1024xf32>) {
  %a = graph.reduce_sum %x {axes = [1]} : (tensor<1024x1024xf32>) -> tensor<1024xf32>
  %b = graph.reduce_min %y {axes = [1]} : (tensor<1024x1024xf32>) -> tensor<1024xf32>
  %c = graph.reduce_max %x {axes = [1]} : (tensor<1024x1024xf32>) -> tensor<1024xf32>
  func.return %a, %b, %c : tensor<1024xf32>, tensor<1024xf32>, tensor<1024xf32>
}

// … nor where moving the bytes takes longer than starting a kernel.
// CHECK-LABEL: func.func @large
// CHECK-COUNT-2: graph.fused
func.func @large(%x: tensor<1024x1024xf32>, %y: tensor<1024x1024xf32>)
    -> (tensor<1024x1024xf32>, tensor<1024x1024xf32>) {
  %a = graph.exp %x : tensor<1024x1024xf32>
  %b = graph.tanh %y : tensor<1024x1024xf32>
  func.return %a, %b : tensor<1024x1024xf32>, tensor<1024x1024xf32>
}
