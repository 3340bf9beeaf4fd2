// Runs custom operators as their callers would: shapes, types and tiling are asked for first.
#pragma once

#include "acl/acl.h"
#include "kernel_operator.h"
#include "register/op_def_registry.h"

#define REGISTER_TILING_DEFAULT(Type) using registered_tiling = Type
#define GET_TILING_DATA(name, pointer) \
  const registered_tiling& name = *reinterpret_cast<const registered_tiling*>(pointer)
#define KERNEL_TASK_TYPE_DEFAULT(kind) (void)0

namespace AscendC::emulator {

// A launch of an operator, whose blocks have so many vector cores: its kernel, and the shapes and types
// of what it is given.
template <class K, class... A>
void launch_op(int64_t cores, const char* type, const char* name, K kernel, const std::vector<gert::Shape>& inputs,
               const std::vector<gert::Shape>& outputs, const std::vector<ge::DataType>& types,
               const std::vector<int64_t>& attributes, A... buffers) {
  auto found = ops::all_ops().find(type);
  if (found == ops::all_ops().end()) fail("operator ", type, ": no OP_ADD defines it");
  const ops::OpDef& op = found->second;
  if (op.inputs.size() != inputs.size() || op.outputs.size() != outputs.size() ||
      op.attributes.size() != attributes.size())
    fail("operator ", type, ": it is defined with ", op.inputs.size(), " inputs and ",
         op.outputs.size(), " outputs");
  for (size_t i = 0; i < types.size(); ++i) {
    const auto& parameter = i < inputs.size() ? op.inputs[i] : op.outputs[i - inputs.size()];
    if (parameter.types != std::vector<ge::DataType>{types[i]})
      fail("operator ", type, ": ", parameter.name, " is defined with another type");
  }
  gert::InferShapeContext shapes;
  shapes.inputs = inputs, shapes.outputs.resize(outputs.size()), shapes.attributes.ints = attributes;
  if (op.shapes(&shapes) != ge::GRAPH_SUCCESS) fail("operator ", type, ": InferShape failed");
  gert::InferDataTypeContext inferred;
  inferred.outputs.assign(outputs.size(), ge::DT_UNDEFINED);
  if (op.data_types(&inferred) != ge::GRAPH_SUCCESS)
    fail("operator ", type, ": InferDataType failed");
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!(shapes.outputs[i] == outputs[i]))
      fail("operator ", type, ": InferShape gives another shape for ", op.outputs[i].name);
    if (inferred.outputs[i] != types[inputs.size() + i])
      fail("operator ", type, ": InferDataType gives another type for ", op.outputs[i].name);
  }
  gert::TilingContext context;
  for (const gert::Shape& shape : inputs) context.inputs.emplace_back(shape);
  context.attributes.ints = attributes;
  if (op.core.tiling(&context) != ge::GRAPH_SUCCESS) fail("operator ", type, ": its tiling failed");
  if (context.blocks < 1) fail("operator ", type, ": its tiling sets no blocks");
  std::vector<uint8_t> workspace(context.workspaces.empty() ? 0 : context.workspaces[0]);
  launch(name, context.blocks * cores, kernel, buffers..., workspace.data(), context.tiling.data());
}

}  // namespace AscendC::emulator
