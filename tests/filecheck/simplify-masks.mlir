// RUN: aicc opt %s -p simplify-masks | filecheck %s

// A mask that positions make is evaluated: here it is a causal one.
// CHECK-LABEL: func.func @causal
// CHECK-NEXT: graph.attention %q, %q, %q {scale = 0.5, causal = "upper_left"}
func.func @causal(%q: tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32> {
  %i = graph.constant dense<[[0], [1], [2]]> : tensor<3x1xi64>
  %j = graph.constant dense<[[0, 1, 2]]> : tensor<1x3xi64>
  %le = graph.le %j, %i : (tensor<1x3xi64>, tensor<3x1xi64>) -> tensor<3x3xi1>
  %zero = graph.constant dense<0.0> : tensor<f32>
  %low = graph.constant dense<0xFF800000> : tensor<f32>
  %m = graph.select %le, %zero, %low : (tensor<3x3xi1>, tensor<f32>, tensor<f32>) -> tensor<3x3xf32>
  %0 = graph.attention %q, %q, %q, %m {scale = 0.5} : (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>, tensor<3x3xf32>) -> tensor<1x2x3x4xf32>
  func.return %0 : tensor<1x2x3x4xf32>
}

// A mask that hides nothing goes.
// CHECK-LABEL: func.func @none
// CHECK-NEXT: graph.attention %q, %q, %q {scale = 0.5} :
func.func @none(%q: tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32> {
  %m = graph.constant dense<true> : tensor<1x3xi1>
  %0 = graph.attention %q, %q, %q, %m {scale = 0.5} : (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>, tensor<1x3xi1>) -> tensor<1x2x3x4xf32>
  func.return %0 : tensor<1x2x3x4xf32>
}

// Another mask stays, and so does one that adds something else than 0.
// CHECK-LABEL: func.func @other
// CHECK: graph.attention %q, %q, %q, %m
// CHECK: graph.attention %q, %q, %q, %b
func.func @other(%q: tensor<1x2x3x4xf32>) -> (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>) {
  %m = graph.constant dense<[[true, false, true]]> : tensor<1x3xi1>
  %b = graph.constant dense<[[0.0, 1.0, 0.0]]> : tensor<1x3xf32>
  %0 = graph.attention %q, %q, %q, %m {scale = 0.5} : (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>, tensor<1x3xi1>) -> tensor<1x2x3x4xf32>
  %1 = graph.attention %q, %q, %q, %b {scale = 0.5} : (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>, tensor<1x3xf32>) -> tensor<1x2x3x4xf32>
  func.return %0, %1 : tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>
}

// Queries that see themselves and the key before: a window of two.
// CHECK-LABEL: func.func @window
// CHECK-NEXT: graph.attention %q, %q, %q {scale = 0.5, causal = "upper_left", window = 2}
func.func @window(%q: tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32> {
  %m = graph.constant dense<[[true, false, false], [true, true, false], [false, true, true]]> : tensor<3x3xi1>
  %0 = graph.attention %q, %q, %q, %m {scale = 0.5} : (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>, tensor<3x3xi1>) -> tensor<1x2x3x4xf32>
  func.return %0 : tensor<1x2x3x4xf32>
}
