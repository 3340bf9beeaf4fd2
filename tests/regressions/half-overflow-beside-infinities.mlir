// target: numpy
// pipeline: fuse{max_ops=3 max_operands=4},lower-to-tile
// what: output 0: 1 of 1089 elements are wrong, first at [2, 0, 11]: inf instead of nan
// seed: 8008744
builtin.module {
  func.func @main(%0: tensor<?x1x33xf16, #graph.dims<m>> {graph.name = "x0"} loc(unknown), %1: tensor<1x33xf16> {graph.name = "x3"} loc(unknown)) -> (tensor<?x1x33xf16, #graph.dims<m>> {graph.name = "y2"}) {
    %2 = graph.add %0, %0 : tensor<?x1x33xf16, #graph.dims<m>>
    %3 = graph.div %1, %2 : (tensor<1x33xf16>, tensor<?x1x33xf16, #graph.dims<m>>) -> tensor<?x1x33xf16, #graph.dims<m>>
    func.return %3 : tensor<?x1x33xf16, #graph.dims<m>>
  }
  func.func @inputs() -> (tensor<33x1x33xf16> {graph.name = "x0"}, tensor<1x33xf16> {graph.name = "x3"}) {
    %0 = graph.constant dense_resource<constant_16c0ecde91749a12> : tensor<33x1x33xf16>
    %1 = graph.constant dense<[[-0.8706, -0.2157, 0.811, 1.159, 2.0, 0.893, 0.5854, 1.0, -0.3123, -0.101, 0.6987, 0xFC00, -0.4814, 1.0, 0.5, 6.104e-05, 1.042, 0.5, -1.0, 0.5, 6.104e-05, 2.0, -1.418, 0.0, 0.551, 0.1492, -1.11, -0.6646, -1.0, 0.2559, -0.0, -1.393, -0.1644]]> : tensor<1x33xf16>
    func.return %0, %1 : tensor<33x1x33xf16>, tensor<1x33xf16>
  }
}
