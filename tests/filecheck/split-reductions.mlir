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

// Many rows or few elements stay as they are.
// CHECK-LABEL: func.func @whole
// CHECK: graph.reduce_sum %x {axes = [1]}
// CHECK: graph.reduce_sum %y {axes = [0]}
func.func @whole(%x: tensor<64x65536xf32>, %y: tensor<1024xf32>) -> (tensor<64xf32>, tensor<f32>) {
  %0 = graph.reduce_sum %x {axes = [1]} : (tensor<64x65536xf32>) -> tensor<64xf32>
  %1 = graph.reduce_sum %y {axes = [0]} : (tensor<1024xf32>) -> tensor<f32>
  func.return %0, %1 : tensor<64xf32>, tensor<f32>
}

// A length without divisors: the last part is filled up with what changes nothing.
// CHECK-LABEL: func.func @prime
// CHECK: graph.constant dense<0xFF800000>
// CHECK: graph.pad %x, {{.*}} {low = [0], high = [63]} : (tensor<65537xf32>, tensor<f32>) -> tensor<65600xf32>
// CHECK: graph.reshape {{.*}} {shape = [64, 1025]}
func.func @prime(%x: tensor<65537xf32>) -> tensor<f32> {
  %0 = graph.reduce_max %x {axes = [0]} : (tensor<65537xf32>) -> tensor<f32>
  func.return %0 : tensor<f32>
}

// Where the greatest element is: in the first part whose greatest none exceeds, at the first place.
// CHECK-LABEL: func.func @place
// CHECK: %part_index = graph.argmax %[[P:.*]] {axis = 1} : (tensor<64x1024xf32>) -> tensor<64xi64>
// CHECK: %part_best = graph.reduce_max %[[P]] {axes = [1]}
// CHECK: graph.argmax %part_best {axis = 0, keepdims = true}
// CHECK: graph.gather_elements %part_index
func.func @place(%x: tensor<65536xf32>) -> tensor<i64> {
  %0 = graph.argmax %x {axis = 0} : (tensor<65536xf32>) -> tensor<i64>
  func.return %0 : tensor<i64>
}

// A norm of one long row: parts have a mean and squares of what is left; the parts' means, and how
// far they lie apart, give the row's.
// CHECK-LABEL: func.func @variance
// CHECK: %[[P:.*]] = graph.reshape %x {shape = [1, 64, 1024]}
// CHECK: %part_mean = graph.reduce_mean %[[P]] {axes = [2], keepdims = true}
// CHECK: %[[A:.*]] = graph.sub %[[P]], %part_mean
// CHECK: %[[S:.*]] = graph.mul %[[A]], %[[A]]
// CHECK: %part_squares = graph.reduce_sum %[[S]] {axes = [2], keepdims = true}
// CHECK: graph.reduce_mean %part_mean {axes = [1]
// CHECK: graph.reduce_sum {{.*}} {axes = [1]
// CHECK: graph.rsqrt
// CHECK-NOT: graph.reduce
// CHECK: func.return
func.func @variance(%x: tensor<1x65536xf32>) -> tensor<1x65536xf32> {
  %0, %1, %2 = graph.layer_norm %x {axis = 1, epsilon = 1.0e-5} : (tensor<1x65536xf32>) -> (tensor<1x65536xf32>, tensor<1x1xf32>, tensor<1x1xf32>)
  func.return %0 : tensor<1x65536xf32>
}

// Sums of exponentials stand over their own parts' maxima until the row's is known.
// CHECK-LABEL: func.func @exponentials
// CHECK: %part_max = graph.reduce_max {{.*}} {axes = [2], keepdims = true} : (tensor<2x32x1024xf32>) -> tensor<2x32x1xf32>
// CHECK: graph.is_inf %part_max
// CHECK: graph.select
// CHECK: graph.exp
// CHECK: %part_sum = graph.reduce_sum {{.*}} {axes = [2], keepdims = true}
// CHECK: graph.reduce_max %part_max {axes = [1]
// CHECK: graph.reduce_sum {{.*}} {axes = [1]
// CHECK-NOT: graph.reduce
// CHECK: func.return
func.func @exponentials(%x: tensor<2x32768xf32>) -> tensor<2x32768xf32> {
  %0 = graph.softmax %x {axis = 1} : tensor<2x32768xf32>
  func.return %0 : tensor<2x32768xf32>
}

// Many rows keep their norm.
// CHECK-LABEL: func.func @enough_rows
// CHECK: graph.softmax
func.func @enough_rows(%x: tensor<512x32768xf32>) -> tensor<512x32768xf32> {
  %0 = graph.softmax %x {axis = 1} : tensor<512x32768xf32>
  func.return %0 : tensor<512x32768xf32>
}
