// target: cpp
// pipeline: 
builtin.module {
  func.func @main(%0: tensor<?x?xf32, #graph.dims<m, n>> loc(unknown)) -> (tensor<?xi64, #graph.dims<m>>, tensor<?xi64, #graph.dims<m>>) {
    %1 = graph.argmin %0 {axis = 1, select_last_index = true} : (tensor<?x?xf32, #graph.dims<m, n>>) -> tensor<?xi64, #graph.dims<m>>
    %2 = graph.neg %0 : tensor<?x?xf32, #graph.dims<m, n>>
    %3 = graph.argmax %2 {axis = 1, select_last_index = true} : (tensor<?x?xf32, #graph.dims<m, n>>) -> tensor<?xi64, #graph.dims<m>>
    func.return %1, %3 : tensor<?xi64, #graph.dims<m>>, tensor<?xi64, #graph.dims<m>>
  }
  func.func @inputs() -> (tensor<3x5xf32> {graph.name = "input0"}) {
    %0 = graph.constant dense<[[3.0, 1.0, 1.0, 2.0, 5.0], [0x7F800000, 0x7F800000, 0x7F800000, 0x7F800000, 0x7F800000], [1.0, 0x7FC00000, 0.0, 0x7FC00000, 2.0]]> : tensor<3x5xf32>
    func.return %0 : tensor<3x5xf32>
  }
}
