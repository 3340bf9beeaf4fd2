// RUN: aicc opt %s -p gather-log-softmax | filecheck %s

// A loss needs one element of each row.
// CHECK-LABEL: func.func @loss
// CHECK-NOT: graph.log_softmax
// CHECK: %[[M:.*]] = graph.reduce_max %x
// CHECK: %[[L:.*]] = graph.log
// CHECK: %[[P:.*]] = graph.gather_elements %x, %i {axis = 1}
// CHECK: %[[D:.*]] = graph.sub %[[P]], %[[M]]
// CHECK: graph.sub %[[D]], %[[L]]
func.func @loss(%x: tensor<4x9xf32>, %i: tensor<4x1xi64>) -> tensor<4x1xf32> {
  %0 = graph.log_softmax %x {axis = 1} : tensor<4x9xf32>
  %1 = graph.gather_elements %0, %i {axis = 1} : (tensor<4x9xf32>, tensor<4x1xi64>) -> tensor<4x1xf32>
  func.return %1 : tensor<4x1xf32>
}

// One that is needed whole stays, as training's backward pass reads it.
// CHECK-LABEL: func.func @kept
// CHECK: graph.log_softmax
func.func @kept(%x: tensor<4x9xf32>, %i: tensor<4x1xi64>) -> (tensor<4x1xf32>, tensor<4x9xf32>) {
  %0 = graph.log_softmax %x {axis = 1} : tensor<4x9xf32>
  %1 = graph.gather_elements %0, %i {axis = 1} : (tensor<4x9xf32>, tensor<4x1xi64>) -> tensor<4x1xf32>
  func.return %1, %0 : tensor<4x1xf32>, tensor<4x9xf32>
}

// Another axis.
// CHECK-LABEL: func.func @across
// CHECK: graph.log_softmax
func.func @across(%x: tensor<4x9xf32>, %i: tensor<1x9xi64>) -> tensor<1x9xf32> {
  %0 = graph.log_softmax %x {axis = 1} : tensor<4x9xf32>
  %1 = graph.gather_elements %0, %i {axis = 0} : (tensor<4x9xf32>, tensor<1x9xi64>) -> tensor<1x9xf32>
  func.return %1 : tensor<1x9xf32>
}
