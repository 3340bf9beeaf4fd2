// RUN: aicc opt %s -p merge-matmuls,sink-norm | filecheck %s

// Three projections of one operand are slices of one product; a bias that only some have is 0 for
// the others.
// CHECK-LABEL: func.func @projections
// CHECK: graph.matmul %x, %{{.*}} : (tensor<8x2xf32>, tensor<2x4xf32>) -> tensor<8x4xf32>
// CHECK-NEXT: graph.constant dense<[0.0, 5.0, 6.0, 0.0]>
// CHECK-NEXT: graph.add
// CHECK-NEXT: graph.slice {{.*}} {axes = [1], starts = [0], limits = [1], steps = [1]}
// CHECK-NEXT: graph.slice {{.*}} {axes = [1], starts = [1], limits = [3], steps = [1]}
// CHECK-NEXT: graph.slice {{.*}} {axes = [1], starts = [3], limits = [4], steps = [1]}
func.func @projections(%x: tensor<8x2xf32>) -> (tensor<8x1xf32>, tensor<8x2xf32>, tensor<8x1xf32>) {
  %a = graph.constant dense<[[1.0], [2.0]]> : tensor<2x1xf32>
  %b = graph.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %bias = graph.constant dense<[5.0, 6.0]> : tensor<2xf32>
  %0 = graph.matmul %x, %a : (tensor<8x2xf32>, tensor<2x1xf32>) -> tensor<8x1xf32>
  %1 = graph.matmul %x, %b : (tensor<8x2xf32>, tensor<2x2xf32>) -> tensor<8x2xf32>
  %2 = graph.add %1, %bias : (tensor<8x2xf32>, tensor<2xf32>) -> tensor<8x2xf32>
  %3 = graph.matmul %x, %a : (tensor<8x2xf32>, tensor<2x1xf32>) -> tensor<8x1xf32>
  func.return %0, %2, %3 : tensor<8x1xf32>, tensor<8x2xf32>, tensor<8x1xf32>
}

// A gate and what it lets through meet: one kernel makes both.
// CHECK-LABEL: func.func @gate
// CHECK-COUNT-2: graph.matmul
// CHECK-NOT: graph.slice
func.func @gate(%x: tensor<8x2xf32>) -> tensor<8x2xf32> {
  %a = graph.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %b = graph.constant dense<[[5.0, 6.0], [7.0, 8.0]]> : tensor<2x2xf32>
  %0 = graph.matmul %x, %a : (tensor<8x2xf32>, tensor<2x2xf32>) -> tensor<8x2xf32>
  %1 = graph.silu %0 : tensor<8x2xf32>
  %2 = graph.matmul %x, %b : (tensor<8x2xf32>, tensor<2x2xf32>) -> tensor<8x2xf32>
  %3 = graph.mul %1, %2 : tensor<8x2xf32>
  func.return %3 : tensor<8x2xf32>
}

// The scale of a norm goes into the weight, what is left are numbers of rows.
// CHECK-LABEL: func.func @normed
// CHECK: graph.constant dense<[[2.0, 4.0], [9.0, 12.0]]>
// CHECK-NEXT: graph.matmul %x
// CHECK: graph.reduce_mean {{.*}} -> tensor<8x1xf32>
// CHECK: graph.rsqrt
// CHECK-NEXT: graph.mul {{.*}} -> tensor<8x2xf32>
func.func @normed(%x: tensor<8x2xf32>) -> tensor<8x2xf32> {
  %s = graph.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %w = graph.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %0 = graph.rms_norm %x, %s {axis = 1} : (tensor<8x2xf32>, tensor<2xf32>) -> tensor<8x2xf32>
  %1 = graph.matmul %0, %w : (tensor<8x2xf32>, tensor<2x2xf32>) -> tensor<8x2xf32>
  func.return %1 : tensor<8x2xf32>
}

// Something else needs the norm: it stays where it is.
// CHECK-LABEL: func.func @shared
// CHECK: graph.rms_norm
func.func @shared(%x: tensor<8x2xf32>) -> (tensor<8x2xf32>, tensor<8x2xf32>) {
  %s = graph.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %w = graph.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %0 = graph.rms_norm %x, %s {axis = 1} : (tensor<8x2xf32>, tensor<2xf32>) -> tensor<8x2xf32>
  %1 = graph.matmul %0, %w : (tensor<8x2xf32>, tensor<2x2xf32>) -> tensor<8x2xf32>
  func.return %0, %1 : tensor<8x2xf32>, tensor<8x2xf32>
}

// Sums of integers have scales of their own behind them: they stay apart.
// CHECK-LABEL: func.func @integers
// CHECK-COUNT-2: graph.matmul
// CHECK-NOT: graph.slice
func.func @integers(%x: tensor<2x2xi8>) -> (tensor<2x2xi32>, tensor<2x1xi32>) {
  %a = graph.constant dense<[[1, 2], [3, 4]]> : tensor<2x2xi8>
  %b = graph.constant dense<[[5], [6]]> : tensor<2x1xi8>
  %0 = graph.matmul %x, %a {out_dtype = i32} : (tensor<2x2xi8>, tensor<2x2xi8>) -> tensor<2x2xi32>
  %1 = graph.matmul %x, %b {out_dtype = i32} : (tensor<2x2xi8>, tensor<2x1xi8>) -> tensor<2x1xi32>
  func.return %0, %1 : tensor<2x2xi32>, tensor<2x1xi32>
}
