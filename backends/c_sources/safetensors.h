// Reads constants by name from a safetensors file: a table in JSON, then the data.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

inline bool read_file(const char* path, std::vector<char>& data) {
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
inline std::string quoted(const char* name) {
  std::string text = "\"";
  for (const char* c = name; *c; ++c) {
    if (*c == '"' || *c == '\\') text += '\\';
    text += *c;
  }
  return text + "\"";
}

// Where a tensor begins, in bytes after the table; -1 where the table has none of the name.
inline int64_t place_of(const std::string& table, const char* name) {
  size_t at = table.find(quoted(name) + ":");
  if (at == std::string::npos) return -1;
  at = table.find("\"data_offsets\":[", at);
  if (at == std::string::npos) return -1;
  return std::strtoll(table.c_str() + at + 16, nullptr, 10);
}

// The file's data, and where the tensors of the given names begin in it; false if it is damaged or
// has not all of them. The list of names ends with a null pointer.
inline bool read_tensors(const char* path, const char* const* names, std::vector<char>& data,
                         std::vector<void*>& places) {
  uint64_t length = 0;
  if (!read_file(path, data)) return false;
  std::memcpy(&length, data.data(), 8);
  if (length > data.size() - 8) return false;
  const std::string table(data.data() + 8, length);
  for (const char* const* name = names; *name; ++name) {
    const int64_t place = place_of(table, *name);
    if (place < 0 || uint64_t(place) > data.size() - 8 - length) return false;
    places.push_back(data.data() + 8 + length + place);
  }
  return true;
}
