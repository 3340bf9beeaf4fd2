// RUN: aicc opt %s -p scale-fold | filecheck %s

// CHECK-LABEL: @into_matmul
func.func @into_matmul(%x: tensor<?x2xf32, #graph.dims<n>>) -> tensor<?x2xf32, #graph.dims<n>> {
  // CHECK: graph.constant dense<{{\[\[}}10.0, 40.0], [30.0, 80.0]]>
  // CHECK-NEXT: graph.matmul
  // CHECK-NEXT: return
  %w = graph.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %s = graph.constant dense<[10.0, 20.0]> : tensor<2xf32>
  %0 = graph.matmul %x, %w : (tensor<?x2xf32, #graph.dims<n>>, tensor<2x2xf32>) -> tensor<?x2xf32, #graph.dims<n>>
  %1 = graph.mul %0, %s : (tensor<?x2xf32, #graph.dims<n>>, tensor<2xf32>) -> tensor<?x2xf32, #graph.dims<n>>
  func.return %1 : tensor<?x2xf32, #graph.dims<n>>
}

// CHECK-LABEL: @into_convolution
func.func @into_convolution(%x: tensor<1x1x4xf32>) -> tensor<1x1x4xf32> {
  // CHECK: graph.conv
  // CHECK-NEXT: return
  %w = graph.constant dense<[[[5.0]]]> : tensor<1x1x1xf32>
  %s = graph.constant dense<2.0> : tensor<f32>
  %0 = graph.conv %x, %w {strides = [1], pads = [0, 0], dilations = [1]} : (tensor<1x1x4xf32>, tensor<1x1x1xf32>) -> tensor<1x1x4xf32>
  %1 = graph.mul %0, %s : (tensor<1x1x4xf32>, tensor<f32>) -> tensor<1x1x4xf32>
  %2 = graph.add %1, %s : (tensor<1x1x4xf32>, tensor<f32>) -> tensor<1x1x4xf32>
  func.return %2 : tensor<1x1x4xf32>
}

// A scale that varies along rows is none of the columns'.
// CHECK-LABEL: @rows
func.func @rows(%x: tensor<2x2xf32>) -> tensor<2x2xf32> {
  // CHECK: graph.mul
  %w = graph.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %s = graph.constant dense<[[10.0], [20.0]]> : tensor<2x1xf32>
  %0 = graph.matmul %x, %w : tensor<2x2xf32>
  %1 = graph.mul %0, %s : (tensor<2x2xf32>, tensor<2x1xf32>) -> tensor<2x2xf32>
  func.return %1 : tensor<2x2xf32>
}
