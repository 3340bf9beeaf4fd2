// target: triton
// pipeline: 
builtin.module {
  func.func @main(%0: tensor<?x3x2xf32, #graph.dims<m>> loc(unknown)) -> tensor<?x2xi64, #graph.dims<m>> {
    %1 = graph.argmax %0 {axis = 1, select_last_index = true} : (tensor<?x3x2xf32, #graph.dims<m>>) -> tensor<?x2xi64, #graph.dims<m>>
    func.return %1 : tensor<?x2xi64, #graph.dims<m>>
  }
  func.func @inputs() -> (tensor<4x3x2xf32> {graph.name = "input0"}) {
    %0 = graph.constant dense<[[[0.34558418, 0.82161814], [3.25, 0.0], [0.9053559, 0.44637457]], [[3.25, 0.5811181], [0.3645724, 0.2941325], [0.028422242, -1.0]], [[-0.73645407, -0.16290995], [0.0, 0.5988462], [0.039722107, -0.29245675]], [[3.25, -0.25719225], [0.008142181, -0.2756029], [1.2940638, 2.0]]]> : tensor<4x3x2xf32>
    func.return %0 : tensor<4x3x2xf32>
  }
}
