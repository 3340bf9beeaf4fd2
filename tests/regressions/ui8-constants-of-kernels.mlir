// target: numpy
// pipeline: fuse,lower-to-tile
builtin.module {
  func.func @main(%0: tensor<8xui8> loc(unknown)) -> tensor<8xui8> {
    %1 = graph.constant dense<254> : tensor<ui8>
    %2 = graph.sub %1, %0 : (tensor<ui8>, tensor<8xui8>) -> tensor<8xui8>
    func.return %2 : tensor<8xui8>
  }
  func.func @inputs() -> (tensor<8xui8> {graph.name = "input0"}) {
    %0 = graph.constant dense<[2, 3, 4, 5, 0, 0, 4, 5]> : tensor<8xui8>
    func.return %0 : tensor<8xui8>
  }
}
