/** What is behind a value in memory that is lent: of values that were there before. */
export const STALE_TEXT = '~stale~';

const MORE_BYTES = 1 << 17;

/** These bytes as lmdb-js lends a value: in larger memory, with what was there before behind them. */
export function lentBuffer(bytes: Uint8Array): Buffer {
  const lent = Buffer.alloc(bytes.length + MORE_BYTES, STALE_TEXT);
  lent.set(bytes);
  Object.defineProperty(lent, 'length', { value: bytes.length, writable: true });
  return lent;
}
