// Dropout without stored masks: a seed and a place in, the same decision out, as often as it is asked for.
//
// A place is a row and a column. A row's key is 64 bits of the seed and the row's number, mixed as in splitmix64
// (Steele et al. 2014); a column is mixed with that key by multiplications and shifts of 32 bits.

#pragma once

#include "lanes.h"

namespace {

inline uint64_t mixed(uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

struct Dropout {  // what is dropped, and what the rest is multiplied with so that sums stay as they were expected
  uint64_t seed;
  uint32_t below;
  float kept;
  Dropout(float share, int64_t seed, int64_t site)
      : seed(mixed((uint64_t)seed ^ mixed((uint64_t)site))),
        below((uint32_t)(share * 4294967296.0)),
        kept(share < 1 ? 1 / (1 - share) : 0) {
    if (share >= 1) below = 0xFFFFFFFFu;
  }
  bool none() const { return below == 0; }
};

struct RowKey {  // lanes are sixteen columns of one row, or one column of sixteen rows
  vu a, b;
  RowKey(const Dropout& d, int64_t row) {
    const uint64_t key = mixed(d.seed + (uint64_t)row);
    a = (uint32_t)key - vu{}, b = (uint32_t)(key >> 32) - vu{};
  }
  RowKey(const Dropout& d, int64_t row, int64_t step) {
    for (int i = 0; i < LANES; i++) {
      const uint64_t key = mixed(d.seed + (uint64_t)(row + i * step));
      a[i] = (uint32_t)key, b[i] = (uint32_t)(key >> 32);
    }
  }
};

// what to multiply with: 0 for what is dropped
inline vf factor(const Dropout& d, const RowKey& key, vu column) {
  vu x = (column ^ key.a) * 0x85EBCA6Bu;
  x = ((x ^ (x >> 15)) + key.b) * 0xC2B2AE35u;
  x = (x ^ (x >> 16)) * 0x27D4EB2Fu;
  x ^= x >> 15;
  return x < d.below ? vf{} : splat(d.kept);
}

inline vu columns_from(int64_t first) {
  constexpr vu count = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return count + (uint32_t)first;
}

}  // namespace
