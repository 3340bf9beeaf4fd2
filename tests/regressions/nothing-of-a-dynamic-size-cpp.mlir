// target: cpp
// pipeline: 
builtin.module {
  func.func @main(%0: tensor<?xf32, #graph.dims<m>> loc(unknown), %1: tensor<0x?xf32, #graph.dims<m>> loc(unknown)) -> tensor<0x?xf32, #graph.dims<m>> {
    %2 = graph.div %1, %0 : (tensor<0x?xf32, #graph.dims<m>>, tensor<?xf32, #graph.dims<m>>) -> tensor<0x?xf32, #graph.dims<m>>
    func.return %2 : tensor<0x?xf32, #graph.dims<m>>
  }
  func.func @inputs() -> (tensor<7xf32> {graph.name = "input0"}, tensor<0x7xf32> {graph.name = "input1"}) {
    %0 = graph.constant dense<[0.34558418, 0.0, 0.33043706, -1.3031572, 1.0, 0.44637457, 0.5]> : tensor<7xf32>
    %1 = graph.constant dense<> : tensor<0x7xf32>
    func.return %0, %1 : tensor<7xf32>, tensor<0x7xf32>
  }
}
