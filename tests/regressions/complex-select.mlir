// target: numpy
// pipeline: fuse,lower-to-tile
builtin.module {
  func.func @main(%0: tensor<3xi1> loc(unknown), %1: tensor<3xcomplex<f32>> loc(unknown)) -> tensor<3xcomplex<f32>> {
    %2 = graph.constant dense<(-0.25,-26.5)> : tensor<complex<f32>>
    %3 = graph.select %0, %1, %2 : (tensor<3xi1>, tensor<3xcomplex<f32>>, tensor<complex<f32>>) -> tensor<3xcomplex<f32>>
    func.return %3 : tensor<3xcomplex<f32>>
  }
  func.func @inputs() -> (tensor<3xi1> {graph.name = "input0"}, tensor<3xcomplex<f32>> {graph.name = "input1"}) {
    %0 = graph.constant dense<[true, false, true]> : tensor<3xi1>
    %1 = graph.constant dense<[(1.0,2.0), (3.0,0.0), (0.0,4.0)]> : tensor<3xcomplex<f32>>
    func.return %0, %1 : tensor<3xi1>, tensor<3xcomplex<f32>>
  }
}
