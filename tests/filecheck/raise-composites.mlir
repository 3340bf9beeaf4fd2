// RUN: aicc opt %s -p raise-composites,canonicalize | filecheck %s

// CHECK-LABEL: @softmax
func.func @softmax(%x: tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
  // CHECK-NEXT: graph.softmax %x {axis = 1}
  // CHECK-NEXT: func.return
  %0 = graph.reduce_max %x {axes = [1], keepdims = true} : (tensor<2x3x4xf32>) -> tensor<2x1x4xf32>
  %1 = graph.sub %x, %0 : (tensor<2x3x4xf32>, tensor<2x1x4xf32>) -> tensor<2x3x4xf32>
  %2 = graph.exp %1 : tensor<2x3x4xf32>
  %3 = graph.reduce_sum %2 {axes = [1], keepdims = true} : (tensor<2x3x4xf32>) -> tensor<2x1x4xf32>
  %4 = graph.div %2, %3 : (tensor<2x3x4xf32>, tensor<2x1x4xf32>) -> tensor<2x3x4xf32>
  func.return %4 : tensor<2x3x4xf32>
}

// The largest along one axis, the sum along another: no softmax.
// CHECK-LABEL: @not_softmax
func.func @not_softmax(%x: tensor<3x3xf32>) -> tensor<3x3xf32> {
  // CHECK-NOT: graph.softmax
  // CHECK: graph.div
  %0 = graph.reduce_max %x {axes = [0], keepdims = true} : (tensor<3x3xf32>) -> tensor<1x3xf32>
  %1 = graph.sub %x, %0 : (tensor<3x3xf32>, tensor<1x3xf32>) -> tensor<3x3xf32>
  %2 = graph.exp %1 : tensor<3x3xf32>
  %3 = graph.reduce_sum %2 {axes = [1], keepdims = true} : (tensor<3x3xf32>) -> tensor<3x1xf32>
  %4 = graph.div %2, %3 : (tensor<3x3xf32>, tensor<3x1xf32>) -> tensor<3x3xf32>
  func.return %4 : tensor<3x3xf32>
}

// CHECK-LABEL: @rms_norm
func.func @rms_norm(%x: tensor<2x4xf32>, %s: tensor<4xf32>) -> tensor<2x4xf32> {
  // CHECK-NEXT: graph.rms_norm %x, %s {axis = 1, epsilon = 9.99{{.*}}e-07}
  // CHECK-NEXT: func.return
  %epsilon = graph.constant dense<1.0e-06> : tensor<f32>
  %0 = graph.mul %x, %x : tensor<2x4xf32>
  %1 = graph.reduce_mean %0 {axes = [1], keepdims = true} : (tensor<2x4xf32>) -> tensor<2x1xf32>
  %2 = graph.add %1, %epsilon : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %3 = graph.rsqrt %2 : tensor<2x1xf32>
  %4 = graph.mul %x, %3 : (tensor<2x4xf32>, tensor<2x1xf32>) -> tensor<2x4xf32>
  %5 = graph.mul %s, %4 : (tensor<4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  func.return %5 : tensor<2x4xf32>
}

// CHECK-LABEL: @layer_norm
func.func @layer_norm(%x: tensor<2x4xf32>, %s: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<2x4xf32> {
  // CHECK-NEXT: graph.layer_norm %x, %s, %b {axis = 1, epsilon = 0.5}
  // CHECK-NEXT: func.return
  %epsilon = graph.constant dense<0.5> : tensor<f32>
  %0 = graph.reduce_mean %x {axes = [1], keepdims = true} : (tensor<2x4xf32>) -> tensor<2x1xf32>
  %1 = graph.sub %x, %0 : (tensor<2x4xf32>, tensor<2x1xf32>) -> tensor<2x4xf32>
  %2 = graph.mul %1, %1 : tensor<2x4xf32>
  %3 = graph.reduce_mean %2 {axes = [1], keepdims = true} : (tensor<2x4xf32>) -> tensor<2x1xf32>
  %4 = graph.add %3, %epsilon : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %5 = graph.sqrt %4 : tensor<2x1xf32>
  %6 = graph.div %1, %5 : (tensor<2x4xf32>, tensor<2x1xf32>) -> tensor<2x4xf32>
  %7 = graph.mul %6, %s : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  %8 = graph.add %7, %b : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  func.return %8 : tensor<2x4xf32>
}

// The scale may stand on q, and the keys come transposed.
// CHECK-LABEL: @attention
func.func @attention(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x5x4xf32>, %v: tensor<1x2x5x6xf32>) -> tensor<1x2x3x6xf32> {
  // CHECK-NEXT: graph.attention %q, %k, %v {scale = 0.5}
  // CHECK-NEXT: func.return
  %half = graph.constant dense<0.5> : tensor<f32>
  %0 = graph.mul %q, %half : (tensor<1x2x3x4xf32>, tensor<f32>) -> tensor<1x2x3x4xf32>
  %1 = graph.transpose %k {permutation = [0, 1, 3, 2]} : (tensor<1x2x5x4xf32>) -> tensor<1x2x4x5xf32>
  %2 = graph.matmul %0, %1 : (tensor<1x2x3x4xf32>, tensor<1x2x4x5xf32>) -> tensor<1x2x3x5xf32>
  %3 = graph.softmax %2 {axis = 3} : tensor<1x2x3x5xf32>
  %4 = graph.matmul %3, %v : (tensor<1x2x3x5xf32>, tensor<1x2x5x6xf32>) -> tensor<1x2x3x6xf32>
  func.return %4 : tensor<1x2x3x6xf32>
}

// A mask that may hide a whole row: spelled out that gives NaN, the composite gives 0.
// CHECK-LABEL: @masked
func.func @masked(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x4x5xf32>, %v: tensor<1x2x5x6xf32>, %m: tensor<3x5xf32>) -> tensor<1x2x3x6xf32> {
  // CHECK-NOT: graph.attention
  // CHECK: func.return
  %0 = graph.matmul %q, %k : (tensor<1x2x3x4xf32>, tensor<1x2x4x5xf32>) -> tensor<1x2x3x5xf32>
  %1 = graph.add %0, %m : (tensor<1x2x3x5xf32>, tensor<3x5xf32>) -> tensor<1x2x3x5xf32>
  %2 = graph.softmax %1 {axis = 3} : tensor<1x2x3x5xf32>
  %3 = graph.matmul %2, %v : (tensor<1x2x3x5xf32>, tensor<1x2x5x6xf32>) -> tensor<1x2x3x6xf32>
  func.return %3 : tensor<1x2x3x6xf32>
}

// With NaNs replaced by 0 they agree.
// CHECK-LABEL: @guarded
func.func @guarded(%q: tensor<1x2x3x4xf32>, %k: tensor<1x2x4x5xf32>, %v: tensor<1x2x5x6xf32>, %m: tensor<3x5xf32>) -> tensor<1x2x3x6xf32> {
  // CHECK: graph.attention %q, {{.*}}, %v, %m {scale = 0.25}
  // CHECK-NEXT: func.return
  %four = graph.constant dense<4.0> : tensor<f32>
  %zero = graph.constant dense<0.0> : tensor<f32>
  %0 = graph.matmul %q, %k : (tensor<1x2x3x4xf32>, tensor<1x2x4x5xf32>) -> tensor<1x2x3x5xf32>
  %s = graph.div %0, %four : (tensor<1x2x3x5xf32>, tensor<f32>) -> tensor<1x2x3x5xf32>
  %1 = graph.add %m, %s : (tensor<3x5xf32>, tensor<1x2x3x5xf32>) -> tensor<1x2x3x5xf32>
  %2 = graph.softmax %1 {axis = 3} : tensor<1x2x3x5xf32>
  %n = graph.is_nan %2 : (tensor<1x2x3x5xf32>) -> tensor<1x2x3x5xi1>
  %c = graph.select %n, %zero, %2 : (tensor<1x2x3x5xi1>, tensor<f32>, tensor<1x2x3x5xf32>) -> tensor<1x2x3x5xf32>
  %3 = graph.matmul %c, %v : (tensor<1x2x3x5xf32>, tensor<1x2x5x6xf32>) -> tensor<1x2x3x6xf32>
  func.return %3 : tensor<1x2x3x6xf32>
}
