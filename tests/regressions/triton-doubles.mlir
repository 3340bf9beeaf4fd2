// target: triton
// pipeline: 
builtin.module {
  func.func @main(%0: tensor<8xf64> loc(unknown)) -> (tensor<8xf64>, tensor<8xf64>, tensor<8xf64>, tensor<8xf64>) {
    %1 = graph.acos %0 : tensor<8xf64>
    %2 = graph.asin %0 : tensor<8xf64>
    %3 = graph.atan %0 : tensor<8xf64>
    %4 = graph.tanh %0 : tensor<8xf64>
    func.return %1, %2, %3, %4 : tensor<8xf64>, tensor<8xf64>, tensor<8xf64>, tensor<8xf64>
  }
  func.func @inputs() -> (tensor<8xf64> {graph.name = "input0"}) {
    %0 = graph.constant dense<[-0.999, -0.3, -1.0e-09, 0.0, 1.0e-05, 0.2, 0.7, 1.0]> : tensor<8xf64>
    func.return %0 : tensor<8xf64>
  }
}
