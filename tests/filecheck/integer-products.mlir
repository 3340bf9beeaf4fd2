// RUN: aicc opt %s -p integer-products | filecheck %s

// CHECK-LABEL: @matmul
func.func @matmul(%a: tensor<?x4xui8, #graph.dims<n>>, %w: tensor<4x2xi8>) -> tensor<?x2xi8, #graph.dims<n>> {
  // CHECK: %[[A:.*]] = graph.cast %a {to = i32}
  // CHECK: %[[X:.*]] = graph.sub %[[A]], %{{.*}}
  // CHECK: %[[W:.*]] = graph.cast %w {to = i32}
  // CHECK: %[[SUM:.*]] = graph.matmul %[[X]], %[[W]] {out_dtype = i32}
  // CHECK: %[[F:.*]] = graph.cast %[[SUM]] {to = f32}
  // CHECK: graph.constant dense<0.25>
  // CHECK: %[[Y:.*]] = graph.mul %[[F]]
  // CHECK: %[[R:.*]] = graph.relu %[[Y]]
  // CHECK: graph.constant dense<1.0>
  // CHECK: graph.quantize %[[R]]
  // CHECK-NOT: graph.dequantize
  %sa = graph.constant dense<0.5> : tensor<f32>
  %za = graph.constant dense<7> : tensor<ui8>
  %sw = graph.constant dense<2.0> : tensor<f32>
  %sy = graph.constant dense<4.0> : tensor<f32>
  %zy = graph.constant dense<3> : tensor<i8>
  %0 = graph.dequantize %a, %sa, %za {dtype = f32} : (tensor<?x4xui8, #graph.dims<n>>, tensor<f32>, tensor<ui8>) -> tensor<?x4xf32, #graph.dims<n>>
  %1 = graph.dequantize %w, %sw {dtype = f32} : (tensor<4x2xi8>, tensor<f32>) -> tensor<4x2xf32>
  %2 = graph.matmul %0, %1 : (tensor<?x4xf32, #graph.dims<n>>, tensor<4x2xf32>) -> tensor<?x2xf32, #graph.dims<n>>
  %3 = graph.relu %2 : tensor<?x2xf32, #graph.dims<n>>
  %4 = graph.quantize %3, %sy, %zy {dtype = i8} : (tensor<?x2xf32, #graph.dims<n>>, tensor<f32>, tensor<i8>) -> tensor<?x2xi8, #graph.dims<n>>
  func.return %4 : tensor<?x2xi8, #graph.dims<n>>
}

// A scale that varies along what is summed over can't be taken out of the sum.
// CHECK-LABEL: @along_the_sum
func.func @along_the_sum(%a: tensor<3x4xi8>, %w: tensor<4x2xi8>, %sw: tensor<4xf32>) -> tensor<3x2xf32> {
  // CHECK: graph.matmul %{{.*}}, %{{.*}} : (tensor<3x4xf32>, tensor<4x2xf32>)
  %sa = graph.constant dense<0.5> : tensor<f32>
  %0 = graph.dequantize %a, %sa {dtype = f32} : (tensor<3x4xi8>, tensor<f32>) -> tensor<3x4xf32>
  %1 = graph.dequantize %w, %sw {dtype = f32} : (tensor<4x2xi8>, tensor<4xf32>) -> tensor<4x2xf32>
  %2 = graph.matmul %0, %1 : (tensor<3x4xf32>, tensor<4x2xf32>) -> tensor<3x2xf32>
  func.return %2 : tensor<3x2xf32>
}

// A scale a row of the left operand and a scale a column of the right one.
// CHECK-LABEL: @rows_and_columns
func.func @rows_and_columns(%a: tensor<3x4xi8>, %sa: tensor<3x1xf32>, %w: tensor<4x2xi8>, %sw: tensor<2xf32>) -> tensor<3x2xf32> {
  // CHECK: %[[COLUMNS:.*]] = graph.reshape %sw {shape = [1, 2]}
  // CHECK: graph.matmul %{{.*}}, %{{.*}} {out_dtype = i32}
  // CHECK: graph.mul %sa, %[[COLUMNS]]
  %0 = graph.dequantize %a, %sa {axis = 1, block_size = 4, dtype = f32} : (tensor<3x4xi8>, tensor<3x1xf32>) -> tensor<3x4xf32>
  %1 = graph.dequantize %w, %sw {axis = 1, dtype = f32} : (tensor<4x2xi8>, tensor<2xf32>) -> tensor<4x2xf32>
  %2 = graph.matmul %0, %1 : (tensor<3x4xf32>, tensor<4x2xf32>) -> tensor<3x2xf32>
  func.return %2 : tensor<3x2xf32>
}

// CHECK-LABEL: @convolution
func.func @convolution(%x: tensor<1x3x5x5xui8>, %w: tensor<2x3x3x3xi8>, %b: tensor<2xi32>) -> tensor<1x2x3x3xf32> {
  // CHECK: %[[SUM:.*]] = graph.conv {{.*}}out_dtype = i32
  // CHECK: %[[BIAS:.*]] = graph.reshape %b {shape = [2, 1, 1]}
  // CHECK: graph.add %[[SUM]], %[[BIAS]]
  // CHECK: graph.mul
  // CHECK-NEXT: return
  %sx = graph.constant dense<0.5> : tensor<f32>
  %sw = graph.constant dense<[2.0, 4.0]> : tensor<2xf32>
  %sb = graph.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %0 = graph.dequantize %x, %sx {dtype = f32} : (tensor<1x3x5x5xui8>, tensor<f32>) -> tensor<1x3x5x5xf32>
  %1 = graph.dequantize %w, %sw {dtype = f32} : (tensor<2x3x3x3xi8>, tensor<2xf32>) -> tensor<2x3x3x3xf32>
  %2 = graph.dequantize %b, %sb {dtype = f32} : (tensor<2xi32>, tensor<2xf32>) -> tensor<2xf32>
  %3 = graph.conv %0, %1, %2 {strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1]} : (tensor<1x3x5x5xf32>, tensor<2x3x3x3xf32>, tensor<2xf32>) -> tensor<1x2x3x3xf32>
  func.return %3 : tensor<1x2x3x3xf32>
}
