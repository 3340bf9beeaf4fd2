// RUN: aicc opt %s -p infer-quantized-types | filecheck %s
// RUN: aicc opt %s -p infer-quantized-types,strip-quantized-types | filecheck %s --check-prefix STRIP
// STRIP-NOT: graph.quantized

// A quantize says what its codes stand for; a reader tells what constants do, and arguments; moving
// codes about keeps it.
builtin.module {
  // CHECK: func.func @main(%x: tensor<?x2x4x4xf32, #graph.dims<n>>
  // CHECK-SAME: %codes: tensor<2x3xui8, #graph.quantized<f32, scale = [0.5, 0.25], zero_point = [1, 2], axis = 0>>
  func.func @main(%x: tensor<?x2x4x4xf32, #graph.dims<n>>, %codes: tensor<2x3xui8>)
      -> (tensor<?x2x2x2xi8, #graph.dims<n>>, tensor<2x3xf32>, tensor<4x3xf32>) {
    %scale = graph.constant dense<0.1> : tensor<f32>
    %zero = graph.constant dense<-3> : tensor<i8>
    // CHECK: %q = graph.quantize %x
    // CHECK-SAME: -> tensor<?x2x4x4xi8, #graph.quantized<f32, scale = 0.1, zero_point = -3, dims = [n]>>
    %q = graph.quantize %x, %scale, %zero {dtype = i8} : (tensor<?x2x4x4xf32, #graph.dims<n>>, tensor<f32>, tensor<i8>) -> tensor<?x2x4x4xi8, #graph.dims<n>>
    // CHECK: %pooled, %at = graph.max_pool
    // CHECK-SAME: -> (tensor<?x2x2x2xi8, #graph.quantized<f32, scale = 0.1, zero_point = -3, dims = [n]>>
    %pooled, %at = graph.max_pool %q {kernel_shape = [2, 2], strides = [2, 2], pads = [0, 0, 0, 0], dilations = [1, 1]} : (tensor<?x2x4x4xi8, #graph.dims<n>>) -> (tensor<?x2x2x2xi8, #graph.dims<n>>, tensor<?x2x2x2xi64, #graph.dims<n>>)
    %scales = graph.constant dense<[0.5, 0.25]> : tensor<2xf32>
    %points = graph.constant dense<[1, 2]> : tensor<2xui8>
    %real = graph.dequantize %codes, %scales, %points {dtype = f32} : (tensor<2x3xui8>, tensor<2xf32>, tensor<2xui8>) -> tensor<2x3xf32>
    // CHECK: %w = graph.constant
    // CHECK-SAME: tensor<4x3xi4, #graph.quantized<f16, scale = @constant_{{[0-9a-f]+}}, axis = 0, group = 2>>
    %w = graph.constant dense<[[1, 2, 3], [-1, -2, -3], [7, 7, 7], [-8, 0, 1]]> : tensor<4x3xi4>
    %groups = graph.constant dense<[[0.5, 0.25, 1.0], [2.0, 0.125, 1.0]]> : tensor<2x3xf32>
    %w_real = graph.dequantize %w, %groups {axis = 0, block_size = 2, dtype = f16} : (tensor<4x3xi4>, tensor<2x3xf32>) -> tensor<4x3xf16>
    %wide = graph.cast %w_real {to = f32} : (tensor<4x3xf16>) -> tensor<4x3xf32>
    // CHECK: func.return
    func.return %pooled, %real, %wide : tensor<?x2x2x2xi8, #graph.dims<n>>, tensor<2x3xf32>, tensor<4x3xf32>
  }
}
