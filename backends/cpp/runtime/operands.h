// Operands of products of tiles, and the products.
#pragma once

#include "convert.h"

namespace aicc {

// A matrix in memory: element (i, j) is at data[i * row + j * column].
template <class T>
struct matrix {
  const T* data;
  int64_t row, column;
};

// A matrix whose columns lie in panels of `width`, each of them row by row; the last is filled up.
// Of narrow elements, a column's in the rows of a `group` lie side by side: they fill 32 bits. Rows
// are filled up to 64 bytes of a column.
template <class T>
struct panels {
  const T* data;
  int64_t panel;
  static constexpr int64_t width = 64, group = sizeof(T) < 4 ? 4 / sizeof(T) : 1;
};

// A matrix whose element (i, j) is at data[rows[i] + columns[j]].
template <class T>
struct places {
  const T* data;
  const int64_t *rows, *columns;
};

// c[i, j] = (add ? c[i, j] : 0) + sum over k of a[i, k] * b[k, j], with `row` elements from a row
// of c to the next: a multiple of W, up to which columns beyond n may be written. Operands of 16
// bits are summed in float, bytes in 32 bits. Panels on the left are of rows.
void dot(float* c, int64_t row, matrix<float> a, matrix<float> b, int64_t m, int64_t n, int64_t k,
         bool add);
void dot(float* c, int64_t row, matrix<float> a, panels<float> b, int64_t m, int64_t n, int64_t k,
         bool add);
void dot(float* c, int64_t row, matrix<float> a, places<float> b, int64_t m, int64_t n, int64_t k,
         bool add);
void dot(float* c, int64_t row, panels<float> a, places<float> b, int64_t m, int64_t n, int64_t k,
         bool add);
void dot(float* c, int64_t row, matrix<f16> a, matrix<f16> b, int64_t m, int64_t n, int64_t k,
         bool add);
void dot(float* c, int64_t row, matrix<bf16> a, matrix<bf16> b, int64_t m, int64_t n, int64_t k,
         bool add);
void dot(float* c, int64_t row, matrix<bf16> a, panels<bf16> b, int64_t m, int64_t n, int64_t k,
         bool add);
void dot(float* c, int64_t row, matrix<f8e4m3> a, matrix<f8e4m3> b, int64_t m, int64_t n, int64_t k,
         bool add);
void dot(float* c, int64_t row, matrix<f8e5m2> a, matrix<f8e5m2> b, int64_t m, int64_t n, int64_t k,
         bool add);
void dot(double* c, int64_t row, matrix<double> a, matrix<double> b, int64_t m, int64_t n,
         int64_t k, bool add);
void dot(int32_t* c, int64_t row, matrix<int8_t> a, matrix<int8_t> b, int64_t m, int64_t n,
         int64_t k, bool add);
void dot(int32_t* c, int64_t row, matrix<int8_t> a, panels<int8_t> b, int64_t m, int64_t n,
         int64_t k, bool add);

}  // namespace aicc
