// RUN: aicc opt %s -p turn-weights{places=64} | filecheck %s

// Weights that come from outside are turned in a kernel of their own.
// CHECK-LABEL: func.func @given
// CHECK: %[[W:.*]] = graph.fused %w {role = "pointwise", label = "transpose"} : (tensor<4x3x3x3xf32>) -> tensor<3x3x3x4xf32>
// CHECK: graph.transpose {{.*}}permutation = [2, 3, 1, 0]
// CHECK: graph.fused %x, %[[W]] {role = "contraction", label = "conv"}
// CHECK-NOT: graph.transpose
// CHECK: graph.conv
func.func @given(%x: tensor<1x10x10x3xf32>, %w: tensor<4x3x3x3xf32>) -> tensor<1x8x8x4xf32> {
  %0 = graph.fused %x, %w {role = "contraction", label = "conv"} : (tensor<1x10x10x3xf32>, tensor<4x3x3x3xf32>) -> tensor<1x8x8x4xf32> {
  ^bb0(%a: tensor<1x10x10x3xf32>, %b: tensor<4x3x3x3xf32>):
    %t = graph.transpose %b {permutation = [2, 3, 1, 0]} : (tensor<4x3x3x3xf32>) -> tensor<3x3x3x4xf32>
    %c = graph.conv %a, %t {strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1], groups = 1, layout = "nhwc"} : (tensor<1x10x10x3xf32>, tensor<3x3x3x4xf32>) -> tensor<1x8x8x4xf32>
    graph.yield %c : (tensor<1x8x8x4xf32>) -> ()
  }
  func.return %0 : tensor<1x8x8x4xf32>
}

// With few places, one block of rows reads each weight once; a single tap is no gather.
// CHECK-LABEL: func.func @few
// CHECK-NOT: label = "transpose"
func.func @few(%x: tensor<1x9x9x3xf32>, %w: tensor<4x3x3x3xf32>) -> tensor<1x7x7x4xf32> {
  %0 = graph.fused %x, %w {role = "contraction", label = "conv"} : (tensor<1x9x9x3xf32>, tensor<4x3x3x3xf32>) -> tensor<1x7x7x4xf32> {
  ^bb0(%a: tensor<1x9x9x3xf32>, %b: tensor<4x3x3x3xf32>):
    %t = graph.transpose %b {permutation = [2, 3, 1, 0]} : (tensor<4x3x3x3xf32>) -> tensor<3x3x3x4xf32>
    %c = graph.conv %a, %t {strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1], groups = 1, layout = "nhwc"} : (tensor<1x9x9x3xf32>, tensor<3x3x3x4xf32>) -> tensor<1x7x7x4xf32>
    graph.yield %c : (tensor<1x7x7x4xf32>) -> ()
  }
  func.return %0 : tensor<1x7x7x4xf32>
}

// CHECK-LABEL: func.func @one_tap
// CHECK-NOT: label = "transpose"
func.func @one_tap(%x: tensor<1x8x8x3xf32>, %w: tensor<4x3x1x1xf32>) -> tensor<1x8x8x4xf32> {
  %0 = graph.fused %x, %w {role = "contraction", label = "conv"} : (tensor<1x8x8x3xf32>, tensor<4x3x1x1xf32>) -> tensor<1x8x8x4xf32> {
  ^bb0(%a: tensor<1x8x8x3xf32>, %b: tensor<4x3x1x1xf32>):
    %t = graph.transpose %b {permutation = [2, 3, 1, 0]} : (tensor<4x3x1x1xf32>) -> tensor<1x1x3x4xf32>
    %c = graph.conv %a, %t {strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1], groups = 1, layout = "nhwc"} : (tensor<1x8x8x3xf32>, tensor<1x1x3x4xf32>) -> tensor<1x8x8x4xf32>
    graph.yield %c : (tensor<1x8x8x4xf32>) -> ()
  }
  func.return %0 : tensor<1x8x8x4xf32>
}

// A gradient's convolution reads filters as channels, and taps from the last to the first.
// CHECK-LABEL: func.func @gradient
// CHECK: %[[W:.*]] = graph.fused %w {role = "pointwise", label = "transpose"} : (tensor<3x4x3x3xf32>) -> tensor<4x3x3x3xf32>
// CHECK: graph.transpose {{.*}}permutation = [1, 0, 2, 3]
// CHECK: graph.slice
// CHECK: graph.fused %x, %[[W]] {role = "contraction", label = "conv"}
// CHECK-NOT: graph.slice
// CHECK: graph.conv
func.func @gradient(%x: tensor<1x3x10x10xf32>, %w: tensor<3x4x3x3xf32>) -> tensor<1x4x8x8xf32> {
  %0 = graph.fused %x, %w {role = "contraction", label = "conv"} : (tensor<1x3x10x10xf32>, tensor<3x4x3x3xf32>) -> tensor<1x4x8x8xf32> {
  ^bb0(%a: tensor<1x3x10x10xf32>, %b: tensor<3x4x3x3xf32>):
    %t = graph.transpose %b {permutation = [1, 0, 2, 3]} : (tensor<3x4x3x3xf32>) -> tensor<4x3x3x3xf32>
    %s = graph.slice %t {axes = [2], starts = [2], limits = [-9223372036854775808], steps = [-1]} : (tensor<4x3x3x3xf32>) -> tensor<4x3x3x3xf32>
    %c = graph.conv %a, %s {strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1], groups = 1} : (tensor<1x3x10x10xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x8x8xf32>
    graph.yield %c : (tensor<1x4x8x8xf32>) -> ()
  }
  func.return %0 : tensor<1x4x8x8xf32>
}

// Constants are turned as the model is compiled: nothing to do.
// CHECK-LABEL: func.func @constant
// CHECK-NOT: label = "transpose"
func.func @constant(%x: tensor<1x10x10x1xf32>) -> tensor<1x8x9x1xf32> {
  %w = graph.constant dense<[[[[1.0], [2.0], [3.0]]]]> : tensor<1x1x3x1xf32>
  %0 = graph.fused %x, %w {role = "contraction", label = "conv"} : (tensor<1x10x10x1xf32>, tensor<1x1x3x1xf32>) -> tensor<1x8x9x1xf32> {
  ^bb0(%a: tensor<1x10x10x1xf32>, %b: tensor<1x1x3x1xf32>):
    %t = graph.transpose %b {permutation = [2, 3, 1, 0]} : (tensor<1x1x3x1xf32>) -> tensor<3x1x1x1xf32>
    %c = graph.conv %a, %t {strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1], groups = 1, layout = "nhwc"} : (tensor<1x10x10x1xf32>, tensor<3x1x1x1xf32>) -> tensor<1x8x10x1xf32>
    %s = graph.slice %c {axes = [2], starts = [0], limits = [9], steps = [1]} : (tensor<1x8x10x1xf32>) -> tensor<1x8x9x1xf32>
    graph.yield %s : (tensor<1x8x9x1xf32>) -> ()
  }
  func.return %0 : tensor<1x8x9x1xf32>
}
