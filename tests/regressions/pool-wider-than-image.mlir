// target: numpy
// pipeline: dce,lower-to-tile
builtin.module {
  func.func @main(%0: tensor<2x1x1xf32> loc(unknown)) -> tensor<2x1x1xf32> {
    %1, %2 = graph.max_pool %0 {kernel_shape = [3], strides = [1], pads = [1, 1], dilations = [1]} : (tensor<2x1x1xf32>) -> (tensor<2x1x1xf32>, tensor<2x1x1xi64>)
    func.return %1 : tensor<2x1x1xf32>
  }
  func.func @inputs() -> (tensor<2x1x1xf32> {graph.name = "input0"}) {
    %0 = graph.constant dense<[[[0.34558418]], [[3.25]]]> : tensor<2x1x1xf32>
    func.return %0 : tensor<2x1x1xf32>
  }
}
