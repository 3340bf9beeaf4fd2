// target: onnx
// pipeline: 
builtin.module {
  func.func @main(%0: tensor<1xui8> loc(unknown)) -> tensor<2xf32> {
    %1 = graph.constant dense<[5, 0]> : tensor<2xui8>
    %2 = graph.constant dense<[0.078125]> : tensor<1xf32>
    %3 = graph.dequantize %1, %2, %0 {block_size = 2, dtype = f32} : (tensor<2xui8>, tensor<1xf32>, tensor<1xui8>) -> tensor<2xf32>
    func.return %3 : tensor<2xf32>
  }
  func.func @inputs() -> (tensor<1xui8> {graph.name = "input0"}) {
    %0 = graph.constant dense<[3]> : tensor<1xui8>
    func.return %0 : tensor<1xui8>
  }
}
