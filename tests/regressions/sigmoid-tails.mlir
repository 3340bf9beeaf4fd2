// target: numpy
// pipeline: decompose{all=true}
builtin.module {
  func.func @main(%0: tensor<8xf32> loc(unknown)) -> (tensor<8xf32>, tensor<8xf32>) {
    %1 = graph.sigmoid %0 : tensor<8xf32>
    %2 = graph.log %1 : tensor<8xf32>
    %3 = graph.silu %0 : tensor<8xf32>
    func.return %2, %3 : tensor<8xf32>, tensor<8xf32>
  }
  func.func @inputs() -> (tensor<8xf32> {graph.name = "input0"}) {
    %0 = graph.constant dense<[-80.0, -17.4, -8.0, -1.0, 0.0, 1.0, 17.0, 90.0]> : tensor<8xf32>
    func.return %0 : tensor<8xf32>
  }
}
