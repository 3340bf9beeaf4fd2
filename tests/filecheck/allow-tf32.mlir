// RUN: aicc opt %s -p "fuse,lower-to-tile,allow-tf32" | filecheck %s

// Products of f32 may round their operands; those of other types are what they are.
// CHECK: tile.dot {{.*}}precision = "tf32"
func.func @main(%x: tensor<32x64xf32>, %w: tensor<64x32xf32>) -> tensor<32x32xf32> {
  %0 = graph.matmul %x, %w : (tensor<32x64xf32>, tensor<64x32xf32>) -> tensor<32x32xf32>
  func.return %0 : tensor<32x32xf32>
}
