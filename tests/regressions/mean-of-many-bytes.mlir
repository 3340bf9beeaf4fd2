// target: numpy
// pipeline: decompose{all=true}
builtin.module {
  func.func @main(%0: tensor<3x240xi8> loc(unknown)) -> tensor<3xi8> {
    %1 = graph.reduce_mean %0 {axes = [1]} : (tensor<3x240xi8>) -> tensor<3xi8>
    func.return %1 : tensor<3xi8>
  }
  func.func @inputs() -> (tensor<3x240xi8> {graph.name = "input0"}) {
    %0 = graph.constant dense_resource<constant_590d8cb3a10a0251> : tensor<3x240xi8>
    func.return %0 : tensor<3x240xi8>
  }
}
