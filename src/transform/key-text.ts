import { describeValue, type SqlValue } from '../values.js';
import { decodeKey } from './key-codec.js';

/** A row's key for people: its values, as messages show them. */
export function describeKey(key: Uint8Array, components: number): string {
  const shown = decodeKey(key, components).map((value: SqlValue) => describeValue(value));
  return shown.length === 1 ? shown[0]! : `(${shown.join(', ')})`;
}
