// RUN: aicc opt %s -p canonicalize | filecheck %s

// CHECK-LABEL: @identities
func.func @identities(%x: tensor<2x3xf32>, %n: tensor<2xi64>) -> (tensor<2x3xf32>, tensor<2xi64>) {
  // CHECK-NOT: graph.transpose
  // CHECK-NOT: graph.mul
  // CHECK-NOT: graph.add
  // CHECK: return %x, %n
  %0 = graph.transpose %x {permutation = [1, 0]} : (tensor<2x3xf32>) -> tensor<3x2xf32>
  %1 = graph.transpose %0 {permutation = [1, 0]} : (tensor<3x2xf32>) -> tensor<2x3xf32>
  %one = graph.constant dense<1.0> : tensor<f32>
  %2 = graph.mul %1, %one : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
  %zero = graph.constant dense<0> : tensor<i64>
  %3 = graph.add %n, %zero : (tensor<2xi64>, tensor<i64>) -> tensor<2xi64>
  func.return %2, %3 : tensor<2x3xf32>, tensor<2xi64>
}

// -0.0 + 0.0 is 0.0, so adding a float zero is no identity.
// CHECK-LABEL: @float_zero
func.func @float_zero(%x: tensor<2xf32>) -> tensor<2xf32> {
  // CHECK: graph.add
  %zero = graph.constant dense<0.0> : tensor<f32>
  %0 = graph.add %x, %zero : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  func.return %0 : tensor<2xf32>
}

// CHECK-LABEL: @casts
func.func @casts(%x: tensor<2xf16>, %n: tensor<2xi64>) -> (tensor<2xi32>, tensor<2xi64>) {
  // CHECK: graph.cast %x {to = i32} : (tensor<2xf16>) -> tensor<2xi32>
  // CHECK: graph.cast %n {to = i32}
  // CHECK: graph.cast {{.*}} {to = i64}
  %0 = graph.cast %x {to = f32} : (tensor<2xf16>) -> tensor<2xf32>
  %1 = graph.cast %0 {to = i32} : (tensor<2xf32>) -> tensor<2xi32>
  %2 = graph.cast %n {to = i32} : (tensor<2xi64>) -> tensor<2xi32>
  %3 = graph.cast %2 {to = i64} : (tensor<2xi32>) -> tensor<2xi64>
  func.return %1, %3 : tensor<2xi32>, tensor<2xi64>
}

// CHECK-LABEL: @known_branch
func.func @known_branch(%x: tensor<2xf32>) -> tensor<2xf32> {
  // CHECK-NOT: graph.if
  // CHECK: graph.exp
  // CHECK-NOT: graph.neg
  // CHECK: return
  %c = graph.constant dense<true> : tensor<i1>
  %0 = graph.if %c : (tensor<i1>) -> tensor<2xf32> {
    %1 = graph.exp %x : tensor<2xf32>
    graph.yield %1 : (tensor<2xf32>) -> ()
  } {
    %2 = graph.neg %x : tensor<2xf32>
    graph.yield %2 : (tensor<2xf32>) -> ()
  }
  func.return %0 : tensor<2xf32>
}

// Padding by zeros joins a convolution's own; other values and grown channels stay.
// CHECK-LABEL: @padded_convolution
func.func @padded_convolution(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x3x3xf32>) -> tensor<1x4x5x5xf32> {
  // CHECK-NOT: graph.pad
  // CHECK: graph.conv %x, %w {strides = [2, 2], pads = [1, 0, 2, 3]
  %zero = graph.constant dense<0.0> : tensor<f32>
  %0 = graph.pad %x, %zero {low = [0, 0, 0, 0], high = [0, 0, 2, 3]} : (tensor<1x3x8x8xf32>, tensor<f32>) -> tensor<1x3x10x11xf32>
  %1 = graph.conv %0, %w {strides = [2, 2], pads = [1, 0, 0, 0], dilations = [1, 1], groups = 1} : (tensor<1x3x10x11xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x5x5xf32>
  func.return %1 : tensor<1x4x5x5xf32>
}

// CHECK-LABEL: @padded_by_ones
func.func @padded_by_ones(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x3x3xf32>) -> tensor<1x4x8x8xf32> {
  // CHECK: graph.pad
  %one = graph.constant dense<1.0> : tensor<f32>
  %0 = graph.pad %x, %one {low = [0, 0, 1, 1], high = [0, 0, 1, 1]} : (tensor<1x3x8x8xf32>, tensor<f32>) -> tensor<1x3x10x10xf32>
  %1 = graph.conv %0, %w {strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1], groups = 1} : (tensor<1x3x10x10xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x8x8xf32>
  func.return %1 : tensor<1x4x8x8xf32>
}
