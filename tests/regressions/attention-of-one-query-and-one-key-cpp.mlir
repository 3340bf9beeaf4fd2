// target: cpp
// pipeline: fuse,lower-to-tile{scans=true},schedule-cpu{threads=2}
// what: KeyError: <OpResult[tensor<?x?xf32, #graph.dims<BLOCK_M, BLOCK_T>>] name_hint: None, index: 0, operation: tile.dot, uses: 1> (scalar in kernels.py)
// seed: 7000003
builtin.module {
  func.func @main(%0: tensor<17x2x1x1xf32> {graph.name = "x3"} loc(unknown), %1: tensor<17x2x1x4xf32> {graph.name = "x4"} loc(unknown)) -> (tensor<17x2x1x4xf32> {graph.name = "y1"}) {
    %2 = graph.attention %0, %0, %1 {scale = 0.25, causal = "lower_right"} : (tensor<17x2x1x1xf32>, tensor<17x2x1x1xf32>, tensor<17x2x1x4xf32>) -> tensor<17x2x1x4xf32>
    func.return %2 : tensor<17x2x1x4xf32>
  }
  func.func @inputs() -> (tensor<17x2x1x1xf32> {graph.name = "x3"}, tensor<17x2x1x4xf32> {graph.name = "x4"}) {
    %0 = graph.constant dense<[[[[1.0]], [[0.5]]], [[[-2.5]], [[0.36000064]]], [[[1.230328]], [[0.2923704]]], [[[0.5]], [[-0.0]]], [[[0.0]], [[-0.0]]], [[[0.0]], [[2.0]]], [[[0.5]], [[0.06990145]]], [[[-0.17838116]], [[-1.2410848]]], [[[0.108440824]], [[0.0]]], [[[0.7298465]], [[-0.5327768]]], [[[0.18246303]], [[0.0]]], [[[0.07364675]], [[3.25]]], [[[-1.0580922]], [[2.2227297]]], [[[1.4677733]], [[0.0]]], [[[-1.0906973]], [[-0.83787966]]], [[[0.26621673]], [[0.25649297]]], [[[2.0]], [[-0.23303695]]]]> : tensor<17x2x1x1xf32>
    %1 = graph.constant dense_resource<constant_17cd277322ca3214> : tensor<17x2x1x4xf32>
    func.return %0, %1 : tensor<17x2x1x1xf32>, tensor<17x2x1x4xf32>
  }
}
