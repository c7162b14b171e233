/* `unpack` out of an `unpack_width` that is compiled once for each width, so that its tables are constants. */
static void unpack(const uint8_t *packed, uint32_t width, uint8_t *codes, size_t n) {
  switch (width) {
    case 1: unpack_width(packed, 1, codes, n); break;
    case 2: unpack_width(packed, 2, codes, n); break;
    case 3: unpack_width(packed, 3, codes, n); break;
    case 4: unpack_width(packed, 4, codes, n); break;
    case 5: unpack_width(packed, 5, codes, n); break;
    case 6: unpack_width(packed, 6, codes, n); break;
    case 7: unpack_width(packed, 7, codes, n); break;
    default: memcpy(codes, packed, n);
  }
}
