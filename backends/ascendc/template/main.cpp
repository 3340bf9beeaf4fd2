// Runs the model once on the device:
//
//   ./model [SIZE=NUMBER ...] [INPUT.bin ...]
//
// Inputs are raw bytes, row-major, in the model's order; those that aren't given are zeros. Outputs
// are written to output_0.bin and so on. The weights come from model.safetensors.

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "acl/acl.h"
#include "safetensors.h"

struct model_tensor {
  const char* name;
  int64_t (*bytes)(const int64_t* sizes);
};
extern const char* const model_weights[];
extern const model_tensor model_weight_sizes[], model_inputs[], model_outputs[];
extern const char* const model_sizes[];
extern const int64_t model_least_sizes[];
extern aclrtStream model_stream;
extern "C" int64_t model_arena(const int64_t* sizes);
extern "C" void model_run(void* const* weights, void* const* inputs, void* const* outputs,
                          char* arena, const int64_t* sizes);

namespace {

// Memory on the device, freed at the end.
class device_memory {
 public:
  ~device_memory() {
    for (void* p : all) aclrtFree(p);
  }
  void* take(int64_t bytes) {
    void* p = nullptr;
    if (aclrtMalloc(&p, size_t(bytes) + 32, ACL_MEM_MALLOC_HUGE_FIRST) != ACL_SUCCESS) {
      std::fprintf(stderr, "the device has no %lld bytes left\n", (long long)bytes);
      std::exit(1);
    }
    all.push_back(p);
    return p;
  }

 private:
  std::vector<void*> all;
};

std::vector<char> input_data(const char* path, const model_tensor& t, int64_t bytes) {
  std::vector<char> data(size_t(bytes), 0);
  if (!path) return data;
  FILE* file = std::fopen(path, "rb");
  const size_t found = file ? std::fread(data.data(), 1, data.size(), file) : 0;
  const bool more = file && std::fgetc(file) != EOF;
  if (file) std::fclose(file);
  if (!file || found != data.size() || more) {
    std::fprintf(stderr, "%s: input %s takes %lld bytes\n", path, t.name, (long long)bytes);
    std::exit(1);
  }
  return data;
}

int run(int argc, char** argv) {
  std::vector<int64_t> sizes;
  for (int i = 0; model_sizes[i]; ++i) sizes.push_back(model_least_sizes[i]);
  std::vector<const char*> files;
  for (int a = 1; a < argc; ++a) {
    const char* equals = std::strchr(argv[a], '=');
    size_t which = 0;
    const std::string name = equals ? std::string(argv[a], size_t(equals - argv[a])) : "";
    while (which < sizes.size() && name != model_sizes[which]) ++which;
    if (equals && which < sizes.size())
      sizes[which] = std::strtoll(equals + 1, nullptr, 10);
    else
      files.push_back(argv[a]);
  }
  sizes.push_back(0);
  aligned_bytes data;
  std::vector<void*> weights, inputs, outputs, places;
  if (!read_tensors("model.safetensors", model_weights, data, places)) {
    std::fprintf(stderr, "can't read the weights from model.safetensors\n");
    return 1;
  }
  device_memory memory;
  auto upload = [&](const void* from, int64_t bytes) {
    void* to = memory.take(bytes);
    aclrtMemcpy(to, size_t(bytes) + 32, from, size_t(bytes), ACL_MEMCPY_HOST_TO_DEVICE);
    return to;
  };
  for (size_t i = 0; i < places.size(); ++i)
    weights.push_back(upload(places[i], model_weight_sizes[i].bytes(sizes.data())));
  for (size_t i = 0; model_inputs[i].name; ++i) {
    const int64_t bytes = model_inputs[i].bytes(sizes.data());
    const char* path = i < files.size() ? files[i] : nullptr;
    inputs.push_back(upload(input_data(path, model_inputs[i], bytes).data(), bytes));
  }
  for (size_t i = 0; model_outputs[i].name; ++i)
    outputs.push_back(memory.take(model_outputs[i].bytes(sizes.data())));
  char* arena = static_cast<char*>(memory.take(model_arena(sizes.data())));
  model_run(weights.data(), inputs.data(), outputs.data(), arena, sizes.data());
  aclrtSynchronizeStream(model_stream);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const int64_t bytes = model_outputs[i].bytes(sizes.data());
    std::vector<char> found(size_t(bytes) + 1);
    aclrtMemcpy(found.data(), size_t(bytes), outputs[i], size_t(bytes), ACL_MEMCPY_DEVICE_TO_HOST);
    const std::string path = "output_" + std::to_string(i) + ".bin";
    FILE* file = std::fopen(path.c_str(), "wb");
    if (!file || std::fwrite(found.data(), 1, size_t(bytes), file) != size_t(bytes)) return 1;
    std::fclose(file);
    std::printf("%s: %s, %lld bytes\n", path.c_str(), model_outputs[i].name, (long long)bytes);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  aclInit(nullptr);
  aclrtSetDevice(0);
  aclrtCreateStream(&model_stream);
  const int result = run(argc, argv);
  aclrtDestroyStream(model_stream);
  aclrtResetDevice(0);
  aclFinalize();
  return result;
}
