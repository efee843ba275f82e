import { copyBytes, isAscii, isUtf8 } from './bytes';
import { ROWID_FIELD } from './key';
import {
  writeArrayHeader,
  writeBlobHeader,
  writeInteger,
  writeNil,
  writeReal,
  writeTextHeader,
} from './msgpack';
import {
  bytesOf,
  fieldCount,
  readDouble,
  readInteger,
  SERIAL_BYTES,
  SERIAL_DOUBLE,
  SERIAL_NULL,
  startOf,
  typeOf,
} from './stored-record';

/** Of a value, behind the row. */
export const CHECKSUM_BYTES: usize = 8;

/**
 * Writes the row of the record that was looked at.
 *
 * @param columns the field of each, as 32-bit numbers.
 * @returns the end, or 0 for a row that others have to write.
 */
export function writeRow(to: usize, columns: usize, width: u32, rowid: i64): usize {
  to = writeArrayHeader(to, width);
  for (let column: u32 = 0; column < width; column++) {
    const field = load<i32>(columns + 4 * column);
    if (field == ROWID_FIELD) {
      to = writeInteger(to, rowid);
      continue;
    }
    if (<u32>field >= fieldCount) return 0;
    const type = typeOf(field);
    const from = startOf(field);
    if (type >= SERIAL_BYTES) {
      const size = bytesOf(type);
      if ((type & 1) == 1) {
        to = writeTextHeader(to, <u32>size);
        if (!isAscii(from, size) && !isUtf8(from, size)) return 0;
      } else to = writeBlobHeader(to, <u32>size);
      copyBytes(to, from, size);
      to += size;
    } else if (type == SERIAL_NULL) to = writeNil(to);
    else if (type == SERIAL_DOUBLE) to = writeReal(to, readDouble(from));
    else to = writeInteger(to, readInteger(from, type));
  }
  return to;
}
