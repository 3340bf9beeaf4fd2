// target: cpp
// pipeline: 
builtin.module {
  func.func @main(%0: tensor<?x?xf32, #graph.dims<m, n>> loc(unknown)) -> tensor<1x?xf32, #graph.dims<n>> {
    %1 = graph.constant dense<[[1]]> : tensor<1x1xi32>
    %2 = graph.gather_nd %0, %1 : (tensor<?x?xf32, #graph.dims<m, n>>, tensor<1x1xi32>) -> tensor<1x?xf32, #graph.dims<n>>
    func.return %2 : tensor<1x?xf32, #graph.dims<n>>
  }
  func.func @inputs() -> (tensor<3x4xf32> {graph.name = "input0"}) {
    %0 = graph.constant dense<[[3.455842, 0.0, 3.3043709, -1.0], [9.053558, -2.5, -1.0, 5.811181], [1.0, 2.941325, 0.28422242, 5.4671297]]> : tensor<3x4xf32>
    func.return %0 : tensor<3x4xf32>
  }
}
