// RUN: aicc opt %s -p batch-norm-fold | filecheck %s

// scale / sqrt(variance + epsilon) = 2 / sqrt(4) = 1, offset = 3 - 1 = 2
// CHECK-LABEL: @folds
func.func @folds(%x: tensor<1x1x4xf32>) -> tensor<1x1x4xf32> {
  // CHECK-DAG: graph.constant dense<{{\[*}}5.0
  // CHECK-DAG: graph.constant dense<{{\[*}}2.0
  // CHECK: graph.conv %x, {{.*}}, {{.*}}
  // CHECK-NOT: graph.batch_norm
  // CHECK: return
  %w = graph.constant dense<[[[5.0]]]> : tensor<1x1x1xf32>
  %scale = graph.constant dense<[2.0]> : tensor<1xf32>
  %bias = graph.constant dense<[3.0]> : tensor<1xf32>
  %mean = graph.constant dense<[1.0]> : tensor<1xf32>
  %variance = graph.constant dense<[4.0]> : tensor<1xf32>
  %0 = graph.conv %x, %w {strides = [1], pads = [0, 0], dilations = [1]} : (tensor<1x1x4xf32>, tensor<1x1x1xf32>) -> tensor<1x1x4xf32>
  %1 = graph.batch_norm %0, %scale, %bias, %mean, %variance {epsilon = 0.0} : (tensor<1x1x4xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>) -> tensor<1x1x4xf32>
  func.return %1 : tensor<1x1x4xf32>
}

// The convolution's own result is used too.
// CHECK-LABEL: @shared
func.func @shared(%x: tensor<1x1x4xf32>) -> (tensor<1x1x4xf32>, tensor<1x1x4xf32>) {
  // CHECK: graph.batch_norm
  %w = graph.constant dense<[[[5.0]]]> : tensor<1x1x1xf32>
  %one = graph.constant dense<[1.0]> : tensor<1xf32>
  %0 = graph.conv %x, %w {strides = [1], pads = [0, 0], dilations = [1]} : (tensor<1x1x4xf32>, tensor<1x1x1xf32>) -> tensor<1x1x4xf32>
  %1 = graph.batch_norm %0, %one, %one, %one, %one : (tensor<1x1x4xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>) -> tensor<1x1x4xf32>
  func.return %0, %1 : tensor<1x1x4xf32>, tensor<1x1x4xf32>
}
