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
