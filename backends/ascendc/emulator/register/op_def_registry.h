// Definitions of custom operators: kept by name, so that a driver can infer shapes, tile and check.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <map>
#include <string>
#include <vector>

namespace ge {

using graphStatus = uint32_t;
constexpr graphStatus GRAPH_SUCCESS = 0, GRAPH_FAILED = 0xffffffff;
enum DataType { DT_FLOAT, DT_FLOAT16, DT_INT8, DT_INT32, DT_UINT8, DT_INT16 = 6, DT_UINT16, DT_UINT32,
                DT_INT64, DT_UINT64, DT_BOOL = 12, DT_BF16 = 27, DT_UNDEFINED = 28 };
enum Format { FORMAT_ND = 2 };

}  // namespace ge

namespace gert {

class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> given) : dims(given) {}
  explicit Shape(std::vector<int64_t> given) : dims(std::move(given)) {}
  size_t GetDimNum() const { return dims.size(); }
  int64_t GetDim(size_t i) const { return dims.at(i); }
  void SetDimNum(size_t n) { dims.assign(n, 0); }
  void SetDim(size_t i, int64_t size) { dims.at(i) = size; }
  bool operator==(const Shape& other) const { return dims == other.dims; }

 private:
  std::vector<int64_t> dims;
};

class StorageShape {
 public:
  explicit StorageShape(Shape shape) : own(std::move(shape)) {}
  const Shape& GetOriginShape() const { return own; }
  const Shape& GetStorageShape() const { return own; }

 private:
  Shape own;
};

class RuntimeAttrs {
 public:
  std::vector<int64_t> ints;
  const int64_t* GetInt(size_t i) const { return &ints.at(i); }
};

class TilingContext {
 public:
  std::vector<StorageShape> inputs;
  RuntimeAttrs attributes;
  std::vector<uint8_t> tiling;
  std::vector<size_t> workspaces;
  uint32_t blocks = 0;

  const StorageShape* GetInputShape(size_t i) const { return &inputs.at(i); }
  const RuntimeAttrs* GetAttrs() const { return &attributes; }
  const void* GetPlatformInfo() const { return nullptr; }
  template <class T>
  T* GetTilingData() {
    tiling.assign(sizeof(T), 0xff);
    return reinterpret_cast<T*>(tiling.data());
  }
  size_t* GetWorkspaceSizes(size_t n) {
    workspaces.assign(n, 0);
    return workspaces.data();
  }
  ge::graphStatus SetBlockDim(uint32_t n) {
    blocks = n;
    return ge::GRAPH_SUCCESS;
  }
};

class InferShapeContext {
 public:
  std::vector<Shape> inputs, outputs;
  RuntimeAttrs attributes;
  const Shape* GetInputShape(size_t i) const { return &inputs.at(i); }
  Shape* GetOutputShape(size_t i) { return &outputs.at(i); }
  const RuntimeAttrs* GetAttrs() const { return &attributes; }
};

class InferDataTypeContext {
 public:
  std::vector<ge::DataType> outputs;
  ge::graphStatus SetOutputDataType(size_t i, ge::DataType type) {
    outputs.at(i) = type;
    return ge::GRAPH_SUCCESS;
  }
};

}  // namespace gert

namespace ops {

enum Option { OPTIONAL, REQUIRED, DYNAMIC };

class OpParamDef {
 public:
  std::string name;
  std::vector<ge::DataType> types;
  OpParamDef& ParamType(Option) { return *this; }
  OpParamDef& DataType(std::vector<ge::DataType> given) {
    types = std::move(given);
    return *this;
  }
  OpParamDef& Format(std::vector<ge::Format>) { return *this; }
  OpParamDef& UnknownShapeFormat(std::vector<ge::Format>) { return *this; }
};

class OpAttrDef {
 public:
  std::string name;
  OpAttrDef& AttrType(Option) { return *this; }
  OpAttrDef& Int() { return *this; }
};

class OpAICoreDef {
 public:
  std::function<ge::graphStatus(gert::TilingContext*)> tiling;
  std::vector<std::string> chips;
  OpAICoreDef& SetTiling(std::function<ge::graphStatus(gert::TilingContext*)> given) {
    tiling = std::move(given);
    return *this;
  }
  OpAICoreDef& AddConfig(const char* chip) {
    chips.push_back(chip);
    return *this;
  }
};

class OpDef {
 public:
  std::string type;
  std::vector<OpParamDef> inputs, outputs;
  std::vector<OpAttrDef> attributes;
  OpAICoreDef core;
  std::function<ge::graphStatus(gert::InferShapeContext*)> shapes;
  std::function<ge::graphStatus(gert::InferDataTypeContext*)> data_types;

  explicit OpDef(const char* name) : type(name) {
    inputs.reserve(256), outputs.reserve(256), attributes.reserve(64);
  }
  OpParamDef& Input(const char* name) { return inputs.emplace_back(OpParamDef{name, {}}); }
  OpParamDef& Output(const char* name) { return outputs.emplace_back(OpParamDef{name, {}}); }
  OpAttrDef& Attr(const char* name) { return attributes.emplace_back(OpAttrDef{name}); }
  OpDef& SetInferShape(std::function<ge::graphStatus(gert::InferShapeContext*)> given) {
    shapes = std::move(given);
    return *this;
  }
  OpDef& SetInferDataType(std::function<ge::graphStatus(gert::InferDataTypeContext*)> given) {
    data_types = std::move(given);
    return *this;
  }
  OpAICoreDef& AICore() { return core; }
};

inline std::map<std::string, OpDef>& all_ops() {
  static std::map<std::string, OpDef> all;
  return all;
}
inline bool kept(const OpDef& op) { return all_ops().emplace(op.type, op).second; }

}  // namespace ops

#define OP_ADD(Type) static const bool Type##_is_kept = ops::kept(Type(#Type))
