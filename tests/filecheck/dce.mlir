// RUN: aicc opt %s -p dce | filecheck %s

// CHECK-LABEL: @chain
func.func @chain(%x: tensor<2xf32>) -> tensor<2xf32> {
  // CHECK-NEXT: return %x
  %0 = graph.exp %x : tensor<2xf32>
  %1 = graph.neg %0 : tensor<2xf32>
  func.return %x : tensor<2xf32>
}

// CHECK-LABEL: @regions
func.func @regions(%x: tensor<2xf32>, %c: tensor<i1>) -> tensor<2xf32> {
  // CHECK-NEXT: return
  %0 = graph.if %c : (tensor<i1>) -> tensor<2xf32> {
    graph.yield %x : (tensor<2xf32>) -> ()
  } {
    graph.yield %x : (tensor<2xf32>) -> ()
  }
  func.return %x : tensor<2xf32>
}

// Calls out may have side effects.
// CHECK-LABEL: @calls
func.func @calls(%x: tensor<2xf32>) -> tensor<2xf32> {
  // CHECK-NEXT: graph.custom_call
  %0 = graph.custom_call %x {target = "log"} : tensor<2xf32>
  func.return %x : tensor<2xf32>
}
