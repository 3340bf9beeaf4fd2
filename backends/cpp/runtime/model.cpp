// Opens a model's weights and calls it: the C interface of a compiled model.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

extern const char* const model_weights[];
extern "C" int64_t model_arena(const int64_t* sizes);
extern "C" void model_run(void* const* weights, void* const* inputs, void* const* outputs,
                          char* arena, const int64_t* sizes);

struct model {
  std::vector<char> data;
  std::vector<void*> weights;
};

namespace {

bool read_file(const char* path, std::vector<char>& data) {
  FILE* file = std::fopen(path, "rb");
  if (!file) return false;
  bool fine = std::fseek(file, 0, SEEK_END) == 0;
  long size = fine ? std::ftell(file) : -1;
  if (size >= 8) {
    data.resize(size_t(size));
    std::rewind(file);
    fine = std::fread(data.data(), 1, data.size(), file) == data.size();
  }
  std::fclose(file);
  return fine && size >= 8;
}

// A name as it stands in the file's JSON.
std::string quoted(const char* name) {
  std::string text = "\"";
  for (const char* c = name; *c; ++c) {
    if (*c == '"' || *c == '\\') text += '\\';
    text += *c;
  }
  return text + "\"";
}

// Where a tensor begins, in bytes after the table; -1 where the table has none of the name.
int64_t place_of(const std::string& table, const char* name) {
  size_t at = table.find(quoted(name) + ":");
  if (at == std::string::npos) return -1;
  at = table.find("\"data_offsets\":[", at);
  if (at == std::string::npos) return -1;
  return std::strtoll(table.c_str() + at + 16, nullptr, 10);
}

}  // namespace

extern "C" model* model_open(const char* path) try {
  model* m = new model;
  uint64_t length = 0;
  bool fine = read_file(path, m->data);
  if (fine) std::memcpy(&length, m->data.data(), 8);
  fine = fine && length <= m->data.size() - 8;
  if (fine) {
    const std::string table(m->data.data() + 8, length);
    for (const char* const* name = model_weights; *name && fine; ++name) {
      const int64_t place = place_of(table, *name);
      fine = place >= 0 && uint64_t(place) <= m->data.size() - 8 - length;
      m->weights.push_back(m->data.data() + 8 + length + (fine ? place : 0));
    }
  }
  if (fine) return m;
  delete m;
  return nullptr;
} catch (const std::bad_alloc&) {
  return nullptr;
}

extern "C" int model_call(const model* m, void* const* inputs, void* const* outputs,
                          const int64_t* sizes) {
  const int64_t bytes = model_arena(sizes);
  char* arena = static_cast<char*>(std::malloc(size_t(bytes) + 1));
  if (!arena) return -1;
  model_run(m->weights.data(), inputs, outputs, arena, sizes);
  std::free(arena);
  return 0;
}

extern "C" void model_close(model* m) { delete m; }
