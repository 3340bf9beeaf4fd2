// target: numpy
// pipeline: lower-quantization
builtin.module {
  func.func @main(%0: tensor<2x1xui4> loc(unknown)) -> tensor<4x2xf32> {
    %1 = graph.constant dense<[[1, 2], [3, 4], [5, 6], [7, 8]]> : tensor<4x2xui4>
    %2 = graph.constant dense<[[0.5], [0.25]]> : tensor<2x1xf32>
    %3 = graph.expand %0 {shape = [2, 2]} : (tensor<2x1xui4>) -> tensor<2x2xui4>
    %4 = graph.expand %2 {shape = [2, 2]} : (tensor<2x1xf32>) -> tensor<2x2xf32>
    %5 = graph.dequantize %1, %4, %3 {block_size = 2, dtype = f32} : (tensor<4x2xui4>, tensor<2x2xf32>, tensor<2x2xui4>) -> tensor<4x2xf32>
    func.return %5 : tensor<4x2xf32>
  }
  func.func @inputs() -> (tensor<2x1xui4> {graph.name = "input0"}) {
    %0 = graph.constant dense<[[2], [3]]> : tensor<2x1xui4>
    func.return %0 : tensor<2x1xui4>
  }
}
