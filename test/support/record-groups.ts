/** A record of a spool's group. */
export interface SpooledRecord {
  readonly key: Buffer;
  /** With its checksum; or, of 32 bytes, what tells where it is. */
  readonly value: Buffer;
  /** Whether the value is on pages of its own already. */
  readonly isElsewhere: boolean;
}

/** Reads a group of a spool, by code of its own. */
export function readGroup(bytes: Buffer): SpooledRecord[] {
  const records: SpooledRecord[] = [];
  for (let at = 0; at < bytes.length;) {
    const sizes = bytes.readUInt16LE(at);
    const valueAt = at + 8 + (sizes & 0x7fff);
    const end = at + 8 + bytes.readUInt32LE(at + 4);
    records.push({
      key: bytes.subarray(at + 8, valueAt),
      value: bytes.subarray(valueAt, end),
      isElsewhere: sizes > 0x7fff,
    });
    at = end;
  }
  return records;
}

/** The bytes of a group, all of one range. */
export function writeGroup(records: readonly SpooledRecord[]): Buffer {
  return Buffer.concat(
    records.flatMap(({ key, value, isElsewhere }) => {
      const header = Buffer.alloc(8);
      header.writeUInt16LE(key.length + (isElsewhere ? 0x8000 : 0));
      header.writeUInt32LE(key.length + value.length, 4);
      return [header, key, value];
    }),
  );
}

/** What stands for a value in a group that is on pages of its own. */
export function elsewhere(
  bytes: number,
  first: bigint,
  transaction: bigint,
  pages: number,
): Buffer {
  const value = Buffer.alloc(32);
  value.writeUInt32LE(bytes);
  value.writeBigUInt64LE(first, 8);
  value.writeBigUInt64LE(transaction, 16);
  value.writeBigUInt64LE(BigInt(pages), 24);
  return value;
}
