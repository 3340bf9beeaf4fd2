// Opens a model's weights and calls it: the C interface of a compiled model.

#include <new>

#include "safetensors.h"

extern const char* const model_weights[];
extern "C" int64_t model_arena(const int64_t* sizes);
extern "C" int model_run(void* const* weights, void* const* inputs, void* const* outputs,
                         char* arena, const int64_t* sizes);

struct model {
  aligned_bytes data;
  std::vector<void*> weights;
};

extern "C" model* model_open(const char* path) try {
  model* m = new model;
  if (read_tensors(path, model_weights, m->data, m->weights)) return m;
  delete m;
  return nullptr;
} catch (const std::bad_alloc&) {
  return nullptr;
}

extern "C" int model_call(const model* m, void* const* inputs, void* const* outputs,
                          const int64_t* sizes) {
  const int64_t bytes = model_arena(sizes);
  aligned_bytes arena;
  if (!arena.take(uint64_t(bytes))) return -1;
  return model_run(m->weights.data(), inputs, outputs, arena.data, sizes);
}

extern "C" void model_close(model* m) { delete m; }
