// target: numpy
// pipeline: fuse,lower-to-tile
builtin.module {
  func.func @main(%0: tensor<2x3xf32> loc(unknown), %1: tensor<2xi64> loc(unknown)) -> tensor<?x?xf32> {
    %2 = graph.constant dense<1.5> : tensor<f32>
    %3 = graph.pad %0, %2, none, %1 {low = [1, 0]} : (tensor<2x3xf32>, tensor<f32>, tensor<2xi64>) -> tensor<?x?xf32>
    func.return %3 : tensor<?x?xf32>
  }
  func.func @inputs() -> (tensor<2x3xf32> {graph.name = "input0"}, tensor<2xi64> {graph.name = "input1"}) {
    %0 = graph.constant dense<1.0> : tensor<2x3xf32>
    %1 = graph.constant dense<[1, 2]> : tensor<2xi64>
    func.return %0, %1 : tensor<2x3xf32>, tensor<2xi64>
  }
}
