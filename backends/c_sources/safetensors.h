// Reads constants by name from a safetensors file: a table in JSON, then the data.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

// Memory that begins where a cache line does, as vectors are read fastest.
struct aligned_bytes {
  char* data = nullptr;
  aligned_bytes() = default;
  aligned_bytes(const aligned_bytes&) = delete;
  ~aligned_bytes() { std::free(data); }

  // Take so many bytes; false without memory.
  bool take(uint64_t bytes) {
    data = static_cast<char*>(std::aligned_alloc(64, (bytes / 64 + 1) * 64));
    return data;
  }
};

// A name as it stands in the file's JSON.
inline std::string quoted(const char* name) {
  std::string text = "\"";
  for (const char* c = name; *c; ++c) {
    if (*c == '"' || *c == '\\') text += '\\';
    text += *c;
  }
  return text + "\"";
}

// The first and the end of a tensor's bytes after the table; equal to -1 where it has none of it.
inline std::pair<int64_t, int64_t> place_of(const std::string& table, const char* name) {
  size_t at = table.find(quoted(name) + ":");
  if (at != std::string::npos) at = table.find("\"data_offsets\":[", at);
  if (at == std::string::npos) return {-1, -1};
  char* after;
  const int64_t first = std::strtoll(table.c_str() + at + 16, &after, 10);
  return {first, std::strtoll(after + 1, nullptr, 10)};
}

// The tensors of the given names, each aligned; false if the file is damaged or has not all of
// them. The list of names ends with a null pointer.
inline bool read_tensors(FILE* file, const char* const* names, aligned_bytes& memory,
                         std::vector<void*>& tensors) {
  uint64_t length = 0;
  if (std::fseek(file, 0, SEEK_END)) return false;
  const int64_t size = std::ftell(file);
  std::rewind(file);
  if (size < 8 || std::fread(&length, 8, 1, file) != 1 || length > uint64_t(size) - 8) return false;
  const int64_t start = 8 + int64_t(length);
  std::string table(length, ' ');
  if (std::fread(&table[0], 1, length, file) != length) return false;
  std::vector<std::pair<int64_t, int64_t>> places;
  uint64_t total = 0;
  for (const char* const* name = names; *name; ++name) {
    places.push_back(place_of(table, *name));
    const auto [first, end] = places.back();
    if (first < 0 || end < first || end > size - start) return false;
    total += uint64_t(end - first + 63) / 64 * 64;
  }
  if (!memory.take(total)) return false;
  char* to = memory.data;
  for (const auto& [first, end] : places) {
    const size_t bytes = size_t(end - first);
    if (std::fseek(file, long(start + first), SEEK_SET)) return false;
    if (std::fread(to, 1, bytes, file) != bytes) return false;
    tensors.push_back(to);
    to += (bytes + 63) / 64 * 64;
  }
  return true;
}

inline bool read_tensors(const char* path, const char* const* names, aligned_bytes& memory,
                         std::vector<void*>& tensors) {
  FILE* file = std::fopen(path, "rb");
  if (!file) return false;
  const bool fine = read_tensors(file, names, memory, tensors);
  std::fclose(file);
  return fine;
}
