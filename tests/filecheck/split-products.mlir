// RUN: aicc opt %s -p "split-products{parts=4 least=64}" | filecheck %s

// One row by a matrix: products of parts side by side, summed in f32.
// CHECK-LABEL: func.func @token
// CHECK: %[[X:.*]] = graph.reshape %x {shape = [1, 4, 64]}
// CHECK: %[[XT:.*]] = graph.transpose %[[X]] {permutation = [1, 0, 2]}
// CHECK: %[[W:.*]] = graph.reshape %w {shape = [4, 64, 8]}
// CHECK: %[[P:.*]] = graph.matmul %[[XT]], %[[W]] {out_dtype = f32} : (tensor<4x1x64xf16>, tensor<4x64x8xf16>) -> tensor<4x1x8xf32>
// CHECK: %[[S:.*]] = graph.reduce_sum %[[P]] {axes = [0]} : (tensor<4x1x8xf32>) -> tensor<1x8xf32>
// CHECK: graph.cast %[[S]] {to = f16
func.func @token(%x: tensor<1x256xf16>, %w: tensor<256x8xf16>) -> tensor<1x8xf16> {
  %0 = graph.matmul %x, %w : (tensor<1x256xf16>, tensor<256x8xf16>) -> tensor<1x8xf16>
  func.return %0 : tensor<1x8xf16>
}

// One query over a cache sees all keys: parts of them stand where the batch does.
// CHECK-LABEL: func.func @query
// CHECK: graph.attention_with_lse {{.*}} (tensor<4x2x1x8xf32>, tensor<4x1x64x8xf32>, tensor<4x1x64x8xf32>) -> (tensor<4x2x1x8xf32>, tensor<4x2x1xf32>)
// CHECK: graph.reduce_max
// CHECK: graph.exp
func.func @query(%q: tensor<1x2x1x8xf32>, %k: tensor<1x1x256x8xf32>, %v: tensor<1x1x256x8xf32>) -> tensor<1x2x1x8xf32> {
  %0 = graph.attention %q, %k, %v {scale = 0.5, causal = "lower_right"} : (tensor<1x2x1x8xf32>, tensor<1x1x256x8xf32>, tensor<1x1x256x8xf32>) -> tensor<1x2x1x8xf32>
  func.return %0 : tensor<1x2x1x8xf32>
}

// Lengths without such divisors, and queries that see different keys, stay as they are.
// CHECK-LABEL: func.func @whole
// CHECK: graph.matmul %x, %w :
// CHECK: graph.attention %q, %k, %k
func.func @whole(%x: tensor<1x250xf16>, %w: tensor<250x8xf16>, %q: tensor<1x1x3x8xf32>, %k: tensor<1x1x256x8xf32>) -> (tensor<1x8xf16>, tensor<1x1x3x8xf32>) {
  %0 = graph.matmul %x, %w : (tensor<1x250xf16>, tensor<250x8xf16>) -> tensor<1x8xf16>
  %1 = graph.attention %q, %k, %k {scale = 0.5, causal = "upper_left"} : (tensor<1x1x3x8xf32>, tensor<1x1x256x8xf32>, tensor<1x1x256x8xf32>) -> tensor<1x1x3x8xf32>
  func.return %0, %1 : tensor<1x8xf16>, tensor<1x1x3x8xf32>
}
