// RUN: aicc opt %s -p winograd{most=100.0} | filecheck %s

// Two convolutions of one image share its patches; weights are transformed, bias and residual stay.
// CHECK-LABEL: func.func @shared
// CHECK-DAG: %[[P:.*]] = graph.fused %x {role = "pointwise", label = "winograd_patches"} : (tensor<1x2x9x8xf32>) -> tensor<36x2x1x3x2xf32>
// CHECK: graph.winograd_input_transform %{{.*}} {pads = [1, 1, 1, 1]}
// CHECK: graph.winograd_conv %{{.*}}, %{{.*}}, %{{.*}} {size = [9, 8]} : (tensor<36x2x1x3x2xf32>, tensor<36x3x2xf32>, tensor<3xf32>) -> tensor<1x3x9x8xf32>
// CHECK-NOT: winograd_input_transform
// CHECK: graph.winograd_conv
// CHECK-NEXT: graph.relu
func.func @shared(%x: tensor<1x2x9x8xf32>, %b: tensor<3xf32>) -> (tensor<1x3x9x8xf32>, tensor<1x3x9x8xf32>) {
  %w = graph.constant dense<0.5> : tensor<3x2x3x3xf32>
  %0 = graph.fused %x, %w, %b {role = "contraction", label = "conv"} : (tensor<1x2x9x8xf32>, tensor<3x2x3x3xf32>, tensor<3xf32>) -> tensor<1x3x9x8xf32> {
  ^bb0(%i: tensor<1x2x9x8xf32>, %k: tensor<3x2x3x3xf32>, %c: tensor<3xf32>):
    %d = graph.conv %i, %k, %c {strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1], groups = 1} : (tensor<1x2x9x8xf32>, tensor<3x2x3x3xf32>, tensor<3xf32>) -> tensor<1x3x9x8xf32>
    graph.yield %d : (tensor<1x3x9x8xf32>) -> ()
  }
  %1 = graph.fused %x, %w {role = "contraction", label = "conv"} : (tensor<1x2x9x8xf32>, tensor<3x2x3x3xf32>) -> tensor<1x3x9x8xf32> {
  ^bb0(%i: tensor<1x2x9x8xf32>, %k: tensor<3x2x3x3xf32>):
    %d = graph.conv %i, %k {strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1], groups = 1} : (tensor<1x2x9x8xf32>, tensor<3x2x3x3xf32>) -> tensor<1x3x9x8xf32>
    %r = graph.relu %d : tensor<1x3x9x8xf32>
    graph.yield %r : (tensor<1x3x9x8xf32>) -> ()
  }
  func.return %0, %1 : tensor<1x3x9x8xf32>, tensor<1x3x9x8xf32>
}

// An image that is turned as it is read is turned with its patches.
// CHECK-LABEL: func.func @turned
// CHECK: graph.transpose
// CHECK-NEXT: graph.winograd_input_transform {{.*}}layout = "nhwc"}{{.*}} -> tensor<36x1x2x2x2xf32>
// CHECK-NOT: graph.transpose
// CHECK: graph.winograd_conv {{.*}}size = [6, 6], layout = "nhwc"}{{.*}}tensor<36x2x3xf32>) -> tensor<1x6x6x3xf32>
func.func @turned(%x: tensor<1x2x8x8xf32>) -> tensor<1x6x6x3xf32> {
  %w = graph.constant dense<0.5> : tensor<3x3x2x3xf32>
  %0 = graph.fused %x, %w {role = "contraction", label = "conv"} : (tensor<1x2x8x8xf32>, tensor<3x3x2x3xf32>) -> tensor<1x6x6x3xf32> {
  ^bb0(%i: tensor<1x2x8x8xf32>, %k: tensor<3x3x2x3xf32>):
    %t = graph.transpose %i {permutation = [0, 2, 3, 1]} : (tensor<1x2x8x8xf32>) -> tensor<1x8x8x2xf32>
    %d = graph.conv %t, %k {strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1], groups = 1, layout = "nhwc"} : (tensor<1x8x8x2xf32>, tensor<3x3x2x3xf32>) -> tensor<1x6x6x3xf32>
    graph.yield %d : (tensor<1x6x6x3xf32>) -> ()
  }
  func.return %0 : tensor<1x6x6x3xf32>
}

// Strides, groups, other windows and weights that aren't known are not for it.
// CHECK-LABEL: func.func @others
// CHECK-NOT: winograd
func.func @others(%x: tensor<1x2x9x9xf32>, %v: tensor<2x2x3x3xf32>) -> (tensor<1x2x4x4xf32>, tensor<1x2x7x7xf32>, tensor<1x2x5x5xf32>, tensor<1x2x7x7xf32>) {
  %w = graph.constant dense<0.5> : tensor<2x2x3x3xf32>
  %g = graph.constant dense<0.5> : tensor<2x1x3x3xf32>
  %l = graph.constant dense<0.5> : tensor<2x2x5x5xf32>
  %0 = graph.fused %x, %w {role = "contraction", label = "conv"} : (tensor<1x2x9x9xf32>, tensor<2x2x3x3xf32>) -> tensor<1x2x4x4xf32> {
  ^bb0(%i: tensor<1x2x9x9xf32>, %k: tensor<2x2x3x3xf32>):
    %d = graph.conv %i, %k {strides = [2, 2], pads = [0, 0, 0, 0], dilations = [1, 1], groups = 1} : (tensor<1x2x9x9xf32>, tensor<2x2x3x3xf32>) -> tensor<1x2x4x4xf32>
    graph.yield %d : (tensor<1x2x4x4xf32>) -> ()
  }
  %1 = graph.fused %x, %g {role = "contraction", label = "conv"} : (tensor<1x2x9x9xf32>, tensor<2x1x3x3xf32>) -> tensor<1x2x7x7xf32> {
  ^bb0(%i: tensor<1x2x9x9xf32>, %k: tensor<2x1x3x3xf32>):
    %d = graph.conv %i, %k {strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1], groups = 2} : (tensor<1x2x9x9xf32>, tensor<2x1x3x3xf32>) -> tensor<1x2x7x7xf32>
    graph.yield %d : (tensor<1x2x7x7xf32>) -> ()
  }
  %2 = graph.fused %x, %l {role = "contraction", label = "conv"} : (tensor<1x2x9x9xf32>, tensor<2x2x5x5xf32>) -> tensor<1x2x5x5xf32> {
  ^bb0(%i: tensor<1x2x9x9xf32>, %k: tensor<2x2x5x5xf32>):
    %d = graph.conv %i, %k {strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1], groups = 1} : (tensor<1x2x9x9xf32>, tensor<2x2x5x5xf32>) -> tensor<1x2x5x5xf32>
    graph.yield %d : (tensor<1x2x5x5xf32>) -> ()
  }
  %3 = graph.fused %x, %v {role = "contraction", label = "conv"} : (tensor<1x2x9x9xf32>, tensor<2x2x3x3xf32>) -> tensor<1x2x7x7xf32> {
  ^bb0(%i: tensor<1x2x9x9xf32>, %k: tensor<2x2x3x3xf32>):
    %d = graph.conv %i, %k {strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1], groups = 1} : (tensor<1x2x9x9xf32>, tensor<2x2x3x3xf32>) -> tensor<1x2x7x7xf32>
    graph.yield %d : (tensor<1x2x7x7xf32>) -> ()
  }
  func.return %0, %1, %2, %3 : tensor<1x2x4x4xf32>, tensor<1x2x7x7xf32>, tensor<1x2x5x5xf32>, tensor<1x2x7x7xf32>
}
