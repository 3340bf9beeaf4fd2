// Stands for libraries of one model built for several instruction sets: loads the best that this
// processor runs, from the folder that it lies in itself, when a model is opened first.

#include <dlfcn.h>

#include <cstdint>
#include <string>

struct model;

namespace {

struct library {
  model* (*open)(const char*) = nullptr;
  int (*call)(const model*, void* const*, void* const*, const int64_t*) = nullptr;
  void (*close)(model*) = nullptr;
};

struct choice {
  const char* name;
  bool runs;
};

bool load(library& found, const std::string& path) {
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) return false;
  found.open = (decltype(found.open))dlsym(handle, "model_open");
  found.call = (decltype(found.call))dlsym(handle, "model_call");
  found.close = (decltype(found.close))dlsym(handle, "model_close");
  return found.open && found.call && found.close;
}

library best() {
  __builtin_cpu_init();
#define AICC_HAS(f) __builtin_cpu_supports(f)
  const bool v3 = AICC_HAS("avx2") && AICC_HAS("fma") && AICC_HAS("bmi") && AICC_HAS("bmi2");
  const bool v4 = v3 && AICC_HAS("avx512f") && AICC_HAS("avx512bw") && AICC_HAS("avx512cd") &&
                  AICC_HAS("avx512dq") && AICC_HAS("avx512vl");
#undef AICC_HAS
  library found;
  Dl_info self;
  if (!dladdr((void*)&load, &self)) return {};
  std::string folder = self.dli_fname;
  const size_t slash = folder.rfind('/');
  folder = slash == std::string::npos ? std::string() : folder.substr(0, slash + 1);
  for (choice c : {choice{"x86-64-v4", v4}, {"x86-64-v3", v3}, {"x86-64", true}})
    if (c.runs && load(found, folder + "kernels." + c.name + ".so")) return found;
  return {};
}

const library& chosen() {
  static const library found = best();
  return found;
}

}  // namespace

extern "C" model* model_open(const char* weights) {
  return chosen().open ? chosen().open(weights) : nullptr;
}

extern "C" int model_call(const model* m, void* const* inputs, void* const* outputs,
                          const int64_t* sizes) {
  return chosen().call(m, inputs, outputs, sizes);
}

extern "C" void model_close(model* m) {
  if (m) chosen().close(m);
}
