// RUN: aicc opt %s -p pad-images | filecheck %s

// The border is made in a kernel of its own; the residual still reads the image itself.
// CHECK-LABEL: func.func @padded
// CHECK: %[[P:.*]] = graph.fused %x {role = "pointwise", label = "pad"} : (tensor<1x4x8x8xf32>) -> tensor<1x4x10x10xf32>
// CHECK: graph.pad
// CHECK: graph.fused %x, %w, %[[P]]
// CHECK: ^bb0(%a: tensor<1x4x8x8xf32>{{.*}}, %b: tensor<4x4x3x3xf32>{{.*}}, %padded{{.*}}: tensor<1x4x10x10xf32>
// CHECK: graph.conv %padded{{.*}}pads = [0, 0, 0, 0]
func.func @padded(%x: tensor<1x4x8x8xf32>, %w: tensor<4x4x3x3xf32>) -> tensor<1x4x8x8xf32> {
  %0 = graph.fused %x, %w {role = "contraction", label = "conv"} : (tensor<1x4x8x8xf32>, tensor<4x4x3x3xf32>) -> tensor<1x4x8x8xf32> {
  ^bb0(%a: tensor<1x4x8x8xf32>, %b: tensor<4x4x3x3xf32>):
    %c = graph.conv %a, %b {strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1], groups = 1} : (tensor<1x4x8x8xf32>, tensor<4x4x3x3xf32>) -> tensor<1x4x8x8xf32>
    %r = graph.add %c, %a : tensor<1x4x8x8xf32>
    graph.yield %r : (tensor<1x4x8x8xf32>) -> ()
  }
  func.return %0 : tensor<1x4x8x8xf32>
}

// Strides stay the convolution's own.
// CHECK-LABEL: func.func @strided
// CHECK: label = "pad"} : (tensor<1x3x9x9xf32>) -> tensor<1x3x10x11xf32>
// CHECK: graph.conv {{.*}}strides = [2, 2], pads = [0, 0, 0, 0]
func.func @strided(%x: tensor<1x3x9x9xf32>, %w: tensor<4x3x3x3xf32>) -> tensor<1x4x4x5xf32> {
  %0 = graph.fused %x, %w {role = "contraction", label = "conv"} : (tensor<1x3x9x9xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x4x5xf32> {
  ^bb0(%a: tensor<1x3x9x9xf32>, %b: tensor<4x3x3x3xf32>):
    %c = graph.conv %a, %b {strides = [2, 2], pads = [1, 1, 0, 1], dilations = [1, 1], groups = 1} : (tensor<1x3x9x9xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x4x5xf32>
    graph.yield %c : (tensor<1x4x4x5xf32>) -> ()
  }
  func.return %0 : tensor<1x4x4x5xf32>
}

// Nothing to do without a border.
// CHECK-LABEL: func.func @valid
// CHECK-NOT: label = "pad"
func.func @valid(%x: tensor<1x3x9x9xf32>, %w: tensor<4x3x3x3xf32>) -> tensor<1x4x7x7xf32> {
  %0 = graph.fused %x, %w {role = "contraction", label = "conv"} : (tensor<1x3x9x9xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x7x7xf32> {
  ^bb0(%a: tensor<1x3x9x9xf32>, %b: tensor<4x3x3x3xf32>):
    %c = graph.conv %a, %b {strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1], groups = 1} : (tensor<1x3x9x9xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x7x7xf32>
    graph.yield %c : (tensor<1x4x7x7xf32>) -> ()
  }
  func.return %0 : tensor<1x4x7x7xf32>
}
