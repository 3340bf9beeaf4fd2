// target: numpy
// pipeline: fuse,lower-to-tile
builtin.module {
  func.func @main(%0: tensor<i1> loc(unknown)) -> (tensor<ui4>, tensor<2xui2>) {
    %1 = graph.constant dense<3> : tensor<ui4>
    %2 = graph.constant dense<14> : tensor<ui4>
    %3 = graph.select %0, %2, %1 : (tensor<i1>, tensor<ui4>, tensor<ui4>) -> tensor<ui4>
    %4 = graph.constant dense<2> : tensor<ui2>
    %5 = graph.expand %4 {shape = [2]} : (tensor<ui2>) -> tensor<2xui2>
    func.return %3, %5 : tensor<ui4>, tensor<2xui2>
  }
  func.func @inputs() -> (tensor<i1> {graph.name = "input0"}) {
    %0 = graph.constant dense<true> : tensor<i1>
    func.return %0 : tensor<i1>
  }
}
