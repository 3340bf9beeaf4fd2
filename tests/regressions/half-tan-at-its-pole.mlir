// target: numpy
// pipeline: fuse{max_ops=3 max_operands=4},lower-to-tile
// what: output 0: 4 of 70 elements are wrong, first at [0, 0, 2, 1]: -inf instead of 2066.0
// seed: 8010425
builtin.module {
  func.func @main(%0: tensor<1x7x5x2xf16> {graph.name = "x0"} loc(unknown)) -> (tensor<1x7x5x2xf16> {graph.name = "y1"}) {
    %1 = graph.sub %0, %0 : tensor<1x7x5x2xf16>
    %2 = graph.acos %1 : tensor<1x7x5x2xf16>
    %3 = graph.tan %2 : tensor<1x7x5x2xf16>
    func.return %3 : tensor<1x7x5x2xf16>
  }
  func.func @inputs() -> (tensor<1x7x5x2xf16> {graph.name = "x0"}) {
    %0 = graph.constant dense_resource<constant_01c3b4488d0885fe> : tensor<1x7x5x2xf16>
    func.return %0 : tensor<1x7x5x2xf16>
  }
}
