// target: onnx
// pipeline: assign-layouts{layout=nhwc}
builtin.module {
  func.func @main(%0: tensor<1x2x5x4xf32> loc(unknown), %1: tensor<4x2x3x3xf32> loc(unknown), %2: tensor<4xf32> loc(unknown)) -> tensor<1x4x1x1xf32> {
    %3 = graph.conv %0, %1, %2 {strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1]} : (tensor<1x2x5x4xf32>, tensor<4x2x3x3xf32>, tensor<4xf32>) -> tensor<1x4x5x4xf32>
    %4, %5 = graph.max_pool %3 {kernel_shape = [2, 3], strides = [3, 2], pads = [0, 0, 0, 0], dilations = [1, 1]} : (tensor<1x4x5x4xf32>) -> (tensor<1x4x2x1xf32>, tensor<1x4x2x1xi64>)
    %6 = graph.avg_pool %4 {kernel_shape = [2, 1], strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1]} : (tensor<1x4x2x1xf32>) -> tensor<1x4x1x1xf32>
    func.return %6 : tensor<1x4x1x1xf32>
  }
  func.func @inputs() -> (tensor<1x2x5x4xf32> {graph.name = "input0"}, tensor<4x2x3x3xf32> {graph.name = "input1"}, tensor<4xf32> {graph.name = "input2"}) {
    %0 = graph.constant dense<[[[[3.455842, -0.0, 3.3043709, -13.031572], [9.053558, 4.4637456, 3.25, 5.811181], [3.645724, 2.941325, 3.25, 5.4671297], [1.0, 1.0, -4.821193, 5.988462], [0.3972211, -2.9245675, -0.0, -0.0]], [[0.08142181, -2.7560291, 12.940639, 2.0], [0.0, -18.890133, -1.747721, -4.2219043], [0.5, 2.1732192, 21.178387, -11.120208], [-3.77605, 3.25, 6.46703, 6.630634], [-5.140064, -16.480751, 1.6746475, 1.0]]]]> : tensor<1x2x5x4xf32>
    %1 = graph.constant dense_resource<constant_e76d3df67b275509> : tensor<4x2x3x3xf32>
    %2 = graph.constant dense<[0.6269274, 1.0, -2.5, 0.5]> : tensor<4xf32>
    func.return %0, %1, %2 : tensor<1x2x5x4xf32>, tensor<4x2x3x3xf32>, tensor<4xf32>
  }
}
