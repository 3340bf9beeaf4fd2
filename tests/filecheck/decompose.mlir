// RUN: aicc opt %s -p "decompose{all=true}" | filecheck %s

// CHECK-LABEL: @softmax
func.func @softmax(%x: tensor<?x3xf16, #graph.dims<n>>) -> tensor<?x3xf16, #graph.dims<n>> {
  // CHECK: graph.cast %x {to = f32}
  // CHECK: graph.reduce_max
  // CHECK: graph.exp
  // CHECK: graph.reduce_sum
  // CHECK: graph.div
  // CHECK: graph.cast {{.*}} {to = f16}
  %0 = graph.softmax %x {axis = 1} : tensor<?x3xf16, #graph.dims<n>>
  func.return %0 : tensor<?x3xf16, #graph.dims<n>>
}

// CHECK-LABEL: @mean
func.func @mean(%x: tensor<?xf32, #graph.dims<n>>) -> tensor<f32> {
  // CHECK: graph.reduce_sum
  // CHECK: graph.shape_of
  // CHECK: graph.div
  %0 = graph.reduce_mean %x {axes = [0]} : (tensor<?xf32, #graph.dims<n>>) -> tensor<f32>
  func.return %0 : tensor<f32>
}

// CHECK-LABEL: @primitives
func.func @primitives(%x: tensor<2xf32>) -> tensor<2xf32> {
  // CHECK-NEXT: graph.exp
  // CHECK-NEXT: return
  %0 = graph.exp %x : tensor<2xf32>
  func.return %0 : tensor<2xf32>
}
