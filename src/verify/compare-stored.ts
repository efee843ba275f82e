import { lentValue, type BytesDatabase } from '../cache/environment.js';
import { packBounds } from '../load/key-ranges.js';
import type { RowKernel } from '../load/kernel/row-kernel.js';
import { LeafRecords } from '../load/leaf-records.js';
import { eachSpooled } from '../load/spool.js';
import { readRange } from '../source/file-scan.js';
import type { RowidRange } from '../source/stored/leaf-scan.js';
import type { StoredPageBounds } from '../source/stored/stored-page.js';
import type { LookTarget } from './second-look.js';
import type { StoredRows } from './tasks.js';

/** Of one range: more rows that differ are not told. */
const MAX_DIFFERENT = 1000;
const NO_BOUNDS = packBounds([]);

/**
 * Reads the rows of a range in the order in which they are stored, makes records of them as a load does, and holds these
 * against the cache byte for byte.
 *
 * @param kernel nobody else's meanwhile.
 * @returns null where the rows cannot be read so.
 */
export async function compareStored(
  { connection, environment, rows, checksum, plan }: LookTarget,
  kernel: RowKernel,
  range: RowidRange,
  bounds: StoredPageBounds,
): Promise<Omit<StoredRows, 'thread'> | null> {
  const records = new LeafRecords(kernel, plan, NO_BOUNDS, null, checksum, undefined);
  const before = process.hrtime.bigint();
  const page = await readRange(connection, plan, range, bounds, records);
  const after = process.hrtime.bigint();
  if (page === null) return null;
  environment.refresh();
  const { groups, count } = records.finish();
  const held = holdRecords(rows, groups.bytes);
  return {
    ...held,
    compared: count + page.rejected.length,
    rejected: page.rejected.length,
    sourceRows: page.sourceRows,
    bytes: groups.contentBytes,
    rest: page.rest,
    snapshot: { version: page.version, before, after },
  };
}

/** Its loop is not in an asynchronous function: that would be compiled again and again. */
function holdRecords(
  rows: BytesDatabase,
  bytes: Buffer,
): Pick<StoredRows, 'present' | 'different'> {
  const different: Uint8Array[] = [];
  let present = 0;
  eachSpooled(bytes, (keyStart, valueStart, end) => {
    const stored = lentValue(rows, bytes.subarray(keyStart, valueStart));
    if (stored !== undefined) present++;
    const isSame =
      stored?.length === end - valueStart &&
      stored.compare(bytes, valueStart, end, 0, end - valueStart) === 0;
    if (!isSame && different.length <= MAX_DIFFERENT) {
      different.push(new Uint8Array(bytes.subarray(keyStart, valueStart)));
    }
  });
  return { present, different: different.length > MAX_DIFFERENT ? null : different };
}
