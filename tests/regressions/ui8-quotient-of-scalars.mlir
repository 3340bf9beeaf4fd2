// target: numpy
// pipeline: fuse,lower-to-tile
builtin.module {
  func.func @main(%0: tensor<ui8> loc(unknown), %1: tensor<ui8> loc(unknown)) -> (tensor<ui8>, tensor<ui8>) {
    %2 = graph.div %0, %1 : tensor<ui8>
    %3 = graph.rem %0, %1 : tensor<ui8>
    func.return %2, %3 : tensor<ui8>, tensor<ui8>
  }
  func.func @inputs() -> (tensor<ui8> {graph.name = "input0"}, tensor<ui8> {graph.name = "input1"}) {
    %0 = graph.constant dense<255> : tensor<ui8>
    %1 = graph.constant dense<4> : tensor<ui8>
    func.return %0, %1 : tensor<ui8>, tensor<ui8>
  }
}
