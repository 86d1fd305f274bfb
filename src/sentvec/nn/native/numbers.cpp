// Numbers in, their text as JSON has it out: the shortest that reads back as the same float32.
#include <charconv>
#include <cstdint>

extern "C" int64_t sentvec_numbers(const float* values, int64_t count, char* out) {
    char* at = out;
    for (int64_t i = 0; i < count; ++i) {
        if (i) *at++ = ',';
        char* const begun = at;
        at = std::to_chars(begun, begun + 24, values[i]).ptr;
        // Most clients read a float64 and round that. The shortest text may lie so near to the middle between two
        // float32 that rounding twice ends at the other one; nine digits never do.
        double read = 0;
        std::from_chars(begun, at, read);
        if (static_cast<float>(read) != values[i])
            at = std::to_chars(begun, begun + 24, values[i], std::chars_format::scientific, 8).ptr;
    }
    return at - out;
}
