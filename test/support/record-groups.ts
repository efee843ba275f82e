/** A record of a spool's group. */
export interface SpooledRecord {
  readonly key: Buffer;
  /** With its checksum. */
  readonly value: Buffer;
}

/** Reads a group of a spool, by code of its own. */
export function readGroup(bytes: Buffer): SpooledRecord[] {
  const records: SpooledRecord[] = [];
  for (let at = 0; at < bytes.length;) {
    const valueAt = at + 8 + bytes.readUInt16LE(at);
    const end = at + 8 + bytes.readUInt32LE(at + 4);
    records.push({ key: bytes.subarray(at + 8, valueAt), value: bytes.subarray(valueAt, end) });
    at = end;
  }
  return records;
}
