/** Copies to a place with no more room than the bytes need. Most fields are short: a call for each would cost more. */
export function copyBytes(to: usize, from: usize, size: usize): void {
  if (size > 128) {
    memory.copy(to, from, size);
    return;
  }
  let i: usize = 0;
  for (; i + 8 <= size; i += 8) store<u64>(to + i, load<u64>(from + i));
  for (; i < size; i++) store<u8>(to + i, load<u8>(from + i));
}

/** Whether all bytes are below 0x80. */
export function isAscii(from: usize, size: usize): bool {
  let all: u64 = 0;
  let i: usize = 0;
  for (; i + 8 <= size; i += 8) all |= load<u64>(from + i);
  for (; i < size; i++) all |= load<u8>(from + i);
  return (all & 0x8080808080808080) == 0;
}

/** Whether bytes are UTF-8 (RFC 3629, section 4): no overlong forms, no surrogates, nothing above U+10FFFF. */
export function isUtf8(from: usize, size: usize): bool {
  const end = from + size;
  let at = from;
  while (at < end) {
    const first: u32 = load<u8>(at++);
    if (first < 0x80) continue;
    let more: i32 = 1;
    let least: u32 = 0x80;
    let most: u32 = 0xbf;
    if (first < 0xc2) return false;
    else if (first >= 0xe0) {
      more = 2;
      if (first == 0xe0) least = 0xa0;
      else if (first == 0xed) most = 0x9f;
      else if (first >= 0xf0) {
        more = 3;
        if (first == 0xf0) least = 0x90;
        else if (first == 0xf4) most = 0x8f;
        else if (first > 0xf4) return false;
      }
    }
    for (; more > 0; more--) {
      if (at == end) return false;
      const next: u32 = load<u8>(at++);
      if (next < least || next > most) return false;
      least = 0x80;
      most = 0xbf;
    }
  }
  return true;
}

/** Negative, zero or positive, as bytes sort; where one is the beginning of the other, the shorter one is first. */
export function compareBytes(a: usize, aSize: usize, b: usize, bSize: usize): i32 {
  const shorter = min(aSize, bSize);
  for (let i: usize = 0; i < shorter; i++) {
    const difference = <i32>load<u8>(a + i) - <i32>load<u8>(b + i);
    if (difference != 0) return difference;
  }
  return <i32>aSize - <i32>bSize;
}

/** Eight bytes as a number that sorts as they do, zeros where the bytes end before. */
export function sortableWord(from: usize, end: usize): u64 {
  if (from + 8 <= end) return bswap(load<u64>(from));
  let word: u64 = 0;
  for (let i: usize = 0; i < 8; i++) word = (word << 8) | (from + i < end ? load<u8>(from + i) : 0);
  return word;
}
