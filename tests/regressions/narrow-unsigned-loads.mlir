// target: numpy
// pipeline: fuse,lower-to-tile
builtin.module {
  func.func @main(%0: tensor<3xi1> loc(unknown), %1: tensor<3xui4> loc(unknown)) -> tensor<3xui4> {
    %2 = graph.constant dense<13> : tensor<ui4>
    %3 = graph.select %0, %2, %1 : (tensor<3xi1>, tensor<ui4>, tensor<3xui4>) -> tensor<3xui4>
    func.return %3 : tensor<3xui4>
  }
  func.func @inputs() -> (tensor<3xi1> {graph.name = "input0"}, tensor<3xui4> {graph.name = "input1"}) {
    %0 = graph.constant dense<[true, false, false]> : tensor<3xi1>
    %1 = graph.constant dense<[1, 15, 9]> : tensor<3xui4>
    func.return %0, %1 : tensor<3xi1>, tensor<3xui4>
  }
}
