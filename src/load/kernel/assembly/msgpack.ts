/** msgpack (https://github.com/msgpack/msgpack/blob/master/spec.md), each value in the form that `RowEncoder` gives it. */

const MAX_SAFE: f64 = 9007199254740991;

export function writeArrayHeader(to: usize, width: u32): usize {
  if (width < 16) {
    store<u8>(to, 0x90 | width);
    return to + 1;
  }
  store<u8>(to, 0xdc);
  store<u16>(to, bswap(<u16>width), 1);
  return to + 3;
}

export function writeNil(to: usize): usize {
  store<u8>(to, 0xc0);
  return to + 1;
}

export function writeInteger(to: usize, value: i64): usize {
  if (value >= 0) {
    if (value < 0x80) {
      store<u8>(to, <u8>value);
      return to + 1;
    }
    if (value < 0x100) {
      store<u8>(to, 0xcc);
      store<u8>(to, <u8>value, 1);
      return to + 2;
    }
    if (value < 0x10000) {
      store<u8>(to, 0xcd);
      store<u16>(to, bswap(<u16>value), 1);
      return to + 3;
    }
    if (value < 0x100000000) {
      store<u8>(to, 0xce);
      store<u32>(to, bswap(<u32>value), 1);
      return to + 5;
    }
    store<u8>(to, 0xcf);
  } else {
    if (value >= -0x20) {
      store<u8>(to, <u8>value);
      return to + 1;
    }
    if (value >= -0x80) {
      store<u8>(to, 0xd0);
      store<u8>(to, <u8>value, 1);
      return to + 2;
    }
    if (value >= -0x8000) {
      store<u8>(to, 0xd1);
      store<u16>(to, bswap(<u16>value), 1);
      return to + 3;
    }
    if (value >= -0x80000000) {
      store<u8>(to, 0xd2);
      store<u32>(to, bswap(<u32>value), 1);
      return to + 5;
    }
    store<u8>(to, 0xd3);
  }
  store<u64>(to, bswap(<u64>value), 1);
  return to + 9;
}

export function writeReal(to: usize, value: f64): usize {
  // What is no number is NULL to SQLite.
  if (value != value) return writeNil(to);
  if (abs(value) <= MAX_SAFE && trunc(value) == value) return writeInteger(to, <i64>value);
  store<u8>(to, 0xcb);
  store<u64>(to, bswap(reinterpret<u64>(value)), 1);
  return to + 9;
}

export function writeTextHeader(to: usize, size: u32): usize {
  if (size < 32) {
    store<u8>(to, 0xa0 | size);
    return to + 1;
  }
  return writeSize(to, size, 0xd9);
}

export function writeBlobHeader(to: usize, size: u32): usize {
  return writeSize(to, size, 0xc4);
}

/** @param shortest the first of three formats in a row: for sizes of one, of two and of four bytes. */
function writeSize(to: usize, size: u32, shortest: u32): usize {
  if (size < 0x100) {
    store<u8>(to, shortest);
    store<u8>(to, size, 1);
    return to + 2;
  }
  if (size < 0x10000) {
    store<u8>(to, shortest + 1);
    store<u16>(to, bswap(<u16>size), 1);
    return to + 3;
  }
  store<u8>(to, shortest + 2);
  store<u32>(to, bswap(size), 1);
  return to + 5;
}
