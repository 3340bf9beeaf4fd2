// RUN: aicc opt %s -p shape-simplify | filecheck %s

// CHECK-LABEL: @flatten
func.func @flatten(%x: tensor<?x4x8xf32, #graph.dims<s0>>) -> tensor<?x32xf32, #graph.dims<u0>> {
  // CHECK-NOT: graph.shape_of
  // CHECK: graph.reshape %x {shape = [s0, 32]}
  // CHECK-SAME: -> tensor<?x32xf32, #graph.dims<s0>>
  %s = graph.shape_of %x : (tensor<?x4x8xf32, #graph.dims<s0>>) -> tensor<3xi64>
  %i = graph.constant dense<[0]> : tensor<1xi64>
  %n = graph.gather %s, %i : (tensor<3xi64>, tensor<1xi64>) -> tensor<1xi64>
  %m = graph.constant dense<[-1]> : tensor<1xi64>
  %t = graph.concat %n, %m {axis = 0} : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  %y = graph.reshape %x, %t : (tensor<?x4x8xf32, #graph.dims<s0>>, tensor<2xi64>) -> tensor<?x32xf32, #graph.dims<u0>>
  func.return %y : tensor<?x32xf32, #graph.dims<u0>>
}

// CHECK-LABEL: @double
func.func @double(%x: tensor<?xf32, #graph.dims<s0>>) -> tensor<1xi64> {
  // CHECK: graph.shape_expr {exprs = [s0 * 2 + 1]}
  // CHECK-NOT: graph.mul
  // CHECK: return
  %s = graph.shape_of %x : (tensor<?xf32, #graph.dims<s0>>) -> tensor<1xi64>
  %two = graph.constant dense<2> : tensor<i64>
  %one = graph.constant dense<1> : tensor<i64>
  %a = graph.mul %s, %two : (tensor<1xi64>, tensor<i64>) -> tensor<1xi64>
  %b = graph.add %a, %one : (tensor<1xi64>, tensor<i64>) -> tensor<1xi64>
  func.return %b : tensor<1xi64>
}

// A size that depends on data stays an operand.
// CHECK-LABEL: @data_dependent
func.func @data_dependent(%x: tensor<4xf32>) -> tensor<?x1xi64, #graph.dims<u0>> {
  // CHECK: graph.reshape {{.*}}, {{.*}} :
  %i = graph.non_zero %x : (tensor<4xf32>) -> tensor<1x?xi64, #graph.dims<u0>>
  %t = graph.constant dense<[-1, 1]> : tensor<2xi64>
  %y = graph.reshape %i, %t : (tensor<1x?xi64, #graph.dims<u0>>, tensor<2xi64>) -> tensor<?x1xi64, #graph.dims<u0>>
  func.return %y : tensor<?x1xi64, #graph.dims<u0>>
}
