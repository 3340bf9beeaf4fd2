// RUN: aicc opt %s -p scatter-to-select | filecheck %s

// One place in each row: a place that is counted from the end too.
// CHECK-LABEL: func.func @rows
// CHECK: graph.lt %i
// CHECK: %[[AT:.*]] = graph.select
// CHECK: graph.iota {shape = [9], dtype = i64}
// CHECK: %[[HERE:.*]] = graph.eq {{.*}}, %[[AT]]
// CHECK: graph.select %[[HERE]], %u, %x
func.func @rows(%x: tensor<4x9xf32>, %i: tensor<4x1xi64>, %u: tensor<4x1xf32>) -> tensor<4x9xf32> {
  %0 = graph.scatter_elements %x, %i, %u {axis = 1} : (tensor<4x9xf32>, tensor<4x1xi64>, tensor<4x1xf32>) -> tensor<4x9xf32>
  func.return %0 : tensor<4x9xf32>
}

// One row of a cache.
// CHECK-LABEL: func.func @cache
// CHECK: graph.iota {shape = [16], dtype = i64}
// CHECK: %[[SUM:.*]] = graph.add %x, %u
// CHECK: graph.select {{.*}}, %[[SUM]], %x
func.func @cache(%x: tensor<16x9xf32>, %i: tensor<1x1xi64>, %u: tensor<1x9xf32>) -> tensor<16x9xf32> {
  %0 = graph.scatter_nd %x, %i, %u {reduction = "add"} : (tensor<16x9xf32>, tensor<1x1xi64>, tensor<1x9xf32>) -> tensor<16x9xf32>
  func.return %0 : tensor<16x9xf32>
}

// Several places along a line stay a scatter, as does a product.
// CHECK-LABEL: func.func @several
// CHECK: graph.scatter_elements
// CHECK: graph.scatter_elements
func.func @several(%x: tensor<4x9xf32>, %i: tensor<4x2xi64>, %u: tensor<4x2xf32>, %j: tensor<4x1xi64>, %v: tensor<4x1xf32>) -> (tensor<4x9xf32>, tensor<4x9xf32>) {
  %0 = graph.scatter_elements %x, %i, %u {axis = 1} : (tensor<4x9xf32>, tensor<4x2xi64>, tensor<4x2xf32>) -> tensor<4x9xf32>
  %1 = graph.scatter_elements %x, %j, %v {axis = 1, reduction = "mul"} : (tensor<4x9xf32>, tensor<4x1xi64>, tensor<4x1xf32>) -> tensor<4x9xf32>
  func.return %0, %1 : tensor<4x9xf32>, tensor<4x9xf32>
}
