// RUN: aicc opt %s -p cse | filecheck %s

// CHECK-LABEL: @merges
func.func @merges(%x: tensor<2xf32>) -> tensor<2xf32> {
  // CHECK: [[E:%[0-9a-z_]+]] = graph.exp %x
  // CHECK-NEXT: graph.add [[E]], [[E]]
  %0 = graph.exp %x : tensor<2xf32>
  %1 = graph.exp %x : tensor<2xf32>
  %2 = graph.add %0, %1 : tensor<2xf32>
  func.return %2 : tensor<2xf32>
}

// Parameters count, and two draws are never the same.
// CHECK-LABEL: @differ
func.func @differ(%x: tensor<2x2xf32>) -> (tensor<2x2xf32>, tensor<2x2xf32>, tensor<2xf32>, tensor<2xf32>) {
  // CHECK-COUNT-2: graph.softmax
  // CHECK-COUNT-2: graph.rng_normal
  %0 = graph.softmax %x {axis = 0} : tensor<2x2xf32>
  %1 = graph.softmax %x {axis = 1} : tensor<2x2xf32>
  %2 = graph.rng_normal {shape = [2], dtype = f32} : tensor<2xf32>
  %3 = graph.rng_normal {shape = [2], dtype = f32} : tensor<2xf32>
  func.return %0, %1, %2, %3 : tensor<2x2xf32>, tensor<2x2xf32>, tensor<2xf32>, tensor<2xf32>
}

// An op in a region may use one outside; one outside never uses one in a region.
// CHECK-LABEL: @regions
func.func @regions(%x: tensor<2xf32>, %c: tensor<i1>) -> (tensor<2xf32>, tensor<2xf32>) {
  // CHECK: graph.exp
  // CHECK: graph.if
  // CHECK-NOT: graph.exp
  // CHECK: graph.sin
  // CHECK: graph.neg
  // CHECK: graph.sin
  %0 = graph.exp %x : tensor<2xf32>
  %1 = graph.if %c : (tensor<i1>) -> tensor<2xf32> {
    %2 = graph.exp %x : tensor<2xf32>
    %3 = graph.sin %2 : tensor<2xf32>
    graph.yield %3 : (tensor<2xf32>) -> ()
  } {
    %4 = graph.neg %0 : tensor<2xf32>
    graph.yield %4 : (tensor<2xf32>) -> ()
  }
  %5 = graph.sin %0 : tensor<2xf32>
  func.return %1, %5 : tensor<2xf32>, tensor<2xf32>
}
