// RUN: aicc opt %s -p "constant-fold{max-elements=16},dce" | filecheck %s

// CHECK-LABEL: @folds
func.func @folds() -> tensor<2xf32> {
  // CHECK-NEXT: graph.constant dense<[4.0, 6.0]> : tensor<2xf32>
  // CHECK-NEXT: return
  %0 = graph.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %1 = graph.constant dense<[3.0, 4.0]> : tensor<2xf32>
  %2 = graph.add %0, %1 : tensor<2xf32>
  func.return %2 : tensor<2xf32>
}

// A small op never becomes a huge constant.
// CHECK-LABEL: @stays_small
func.func @stays_small() -> tensor<1000xf32> {
  // CHECK: graph.expand
  %0 = graph.constant dense<1.0> : tensor<f32>
  %1 = graph.expand %0 {shape = [1000]} : (tensor<f32>) -> tensor<1000xf32>
  func.return %1 : tensor<1000xf32>
}

// What would fail at run time fails there.
// CHECK-LABEL: @out_of_range
func.func @out_of_range() -> tensor<f32> {
  // CHECK: graph.gather
  %0 = graph.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %1 = graph.constant dense<7> : tensor<i64>
  %2 = graph.gather %0, %1 : (tensor<2xf32>, tensor<i64>) -> tensor<f32>
  func.return %2 : tensor<f32>
}

// Random numbers are no constants.
// CHECK-LABEL: @random
func.func @random() -> tensor<2xf32> {
  // CHECK: graph.rng_uniform
  %0 = graph.rng_uniform {shape = [2], dtype = f32} : tensor<2xf32>
  func.return %0 : tensor<2xf32>
}
