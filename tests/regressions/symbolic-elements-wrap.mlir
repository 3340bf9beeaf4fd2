// target: numpy
// pipeline: shape-simplify
builtin.module {
  func.func @main() -> (tensor<3xui8>, tensor<i64>, tensor<1xi32>) {
    %0 = graph.constant dense<[1, 250, 2]> : tensor<3xui8>
    %1 = graph.constant dense<[4, 10, 2]> : tensor<3xui8>
    %2 = graph.sub %0, %1 : tensor<3xui8>
    %3 = graph.add %2, %1 : tensor<3xui8>
    %4 = graph.constant dense<9223372036854775807> : tensor<i64>
    %5 = graph.add %4, %4 : tensor<i64>
    %6 = graph.constant dense<[4294967299]> : tensor<1xi64>
    %7 = graph.cast %6 {to = i32} : (tensor<1xi64>) -> tensor<1xi32>
    func.return %3, %5, %7 : tensor<3xui8>, tensor<i64>, tensor<1xi32>
  }
  func.func @inputs() {
    func.return
  }
}
