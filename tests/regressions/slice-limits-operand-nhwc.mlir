// target: numpy
// pipeline: assign-layouts{layout=nhwc}
builtin.module {
  func.func @main(%0: tensor<1x2x8xf32> loc(unknown), %1: tensor<2x2x3xf32> loc(unknown)) -> tensor<1x1x2xf32> {
    %2 = graph.conv %0, %1 {strides = [2], pads = [0, 0], dilations = [1]} : (tensor<1x2x8xf32>, tensor<2x2x3xf32>) -> tensor<1x2x3xf32>
    %3 = graph.constant dense<2> : tensor<2xi64>
    %4 = graph.slice %2, none, %3 {axes = [1, 2], starts = [1, 0], steps = [1, 1]} : (tensor<1x2x3xf32>, tensor<2xi64>) -> tensor<1x1x2xf32>
    func.return %4 : tensor<1x1x2xf32>
  }
  func.func @inputs() -> (tensor<1x2x8xf32> {graph.name = "input0"}, tensor<2x2x3xf32> {graph.name = "input1"}) {
    %0 = graph.constant dense<[[[3.455842, 0.5, 3.25, -13.031572, 2.0, 4.4637456, -5.3695326, 5.811181], [3.645724, 2.941325, 2.0, 3.25, -7.364541, -1.6290995, 0.0, 5.988462]]]> : tensor<1x2x8xf32>
    %1 = graph.constant dense<[[[-1.227352, -1.0, 0.5], [-0.9447516, -0.09826997, 0.09548303]], [[0.035586238, 3.25, -2.5], [0.8911669, 0.32084832, -0.8182302]]]> : tensor<2x2x3xf32>
    func.return %0, %1 : tensor<1x2x8xf32>, tensor<2x2x3xf32>
  }
}
