// RUN: aicc opt %s -p "split-reductions{programs=64 least=1024}" | filecheck %s

// A sum over everything becomes sums over parts of the outermost axis.
// CHECK-LABEL: func.func @everything
// CHECK: %[[P:.*]] = graph.reshape %x {shape = [64, 8, 256]}
// CHECK: %[[S:.*]] = graph.reduce_sum %[[P]] {axes = [1, 2]} : (tensor<64x8x256xf32>) -> tensor<64xf32>
// CHECK: graph.reduce_sum %[[S]] {axes = [0]} : (tensor<64xf32>) -> tensor<f32>
func.func @everything(%x: tensor<512x256xf32>) -> tensor<f32> {
  %0 = graph.reduce_sum %x {axes = [0, 1]} : (tensor<512x256xf32>) -> tensor<f32>
  func.return %0 : tensor<f32>
}

// Where an axis makes enough parts by itself, nothing is reshaped; f16 stays f32 in between.
// CHECK-LABEL: func.func @an_axis
// CHECK-NOT: graph.reshape
// CHECK: graph.cast
// CHECK: graph.reduce_sum {{.*}} {axes = [2], keepdims = true} : (tensor<32x2x4096xf32>) -> tensor<32x2x1xf32>
// CHECK: graph.reduce_sum {{.*}} {axes = [0, 2]} : (tensor<32x2x1xf32>) -> tensor<2xf32>
// CHECK: graph.div
// CHECK: graph.cast {{.*}} {to = f16}
func.func @an_axis(%x: tensor<32x2x4096xf16>) -> tensor<2xf16> {
  %0 = graph.reduce_mean %x {axes = [0, 2]} : (tensor<32x2x4096xf16>) -> tensor<2xf16>
  func.return %0 : tensor<2xf16>
}

// Columns are computed 32 to a program: the ten that there are get parts.
// CHECK-LABEL: func.func @columns
// CHECK: graph.reshape %x {shape = [7, 1024, 320]}
// CHECK: graph.reduce_max {{.*}} {axes = [1]} : (tensor<7x1024x320xf32>) -> tensor<7x320xf32>
// CHECK: graph.reduce_max {{.*}} {axes = [0]} : (tensor<7x320xf32>) -> tensor<320xf32>
// CHECK: graph.reshape {{.*}} {shape = [1, 320]}
func.func @columns(%x: tensor<7168x320xf32>) -> tensor<1x320xf32> {
  %0 = graph.reduce_max %x {axes = [0], keepdims = true} : (tensor<7168x320xf32>) -> tensor<1x320xf32>
  func.return %0 : tensor<1x320xf32>
}

// Many rows, few elements, or a length without divisors stay as they are.
// CHECK-LABEL: func.func @whole
// CHECK: graph.reduce_sum %x {axes = [1]}
// CHECK: graph.reduce_sum %y {axes = [0]}
// CHECK: graph.reduce_sum %z {axes = [0]}
func.func @whole(%x: tensor<64x65536xf32>, %y: tensor<1024xf32>, %z: tensor<65537xf32>) -> (tensor<64xf32>, tensor<f32>, tensor<f32>) {
  %0 = graph.reduce_sum %x {axes = [1]} : (tensor<64x65536xf32>) -> tensor<64xf32>
  %1 = graph.reduce_sum %y {axes = [0]} : (tensor<1024xf32>) -> tensor<f32>
  %2 = graph.reduce_sum %z {axes = [0]} : (tensor<65537xf32>) -> tensor<f32>
  func.return %0, %1, %2 : tensor<64xf32>, tensor<f32>, tensor<f32>
}
