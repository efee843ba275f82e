import { CacheError } from '../errors.js';
import { loadChecksum } from '../transform/checksum.js';
import { MAX_DAMAGED_RECORDS } from './damage-notes.js';
import type { Environment } from './environment.js';
import { damagedRecord, recordIsSound } from './record.js';

const checksum = await loadChecksum();

/**
 * Reads every record of a generation: whoever goes on from its checkpoints relies on them, and a sync that follows
 * changes looks at none that did not change.
 *
 * @param note told of each damaged record, as far as they are fetched again one by one.
 * @throws {CacheError} `CACHE_CORRUPT` naming the first that is damaged, or the table that has fewer than it says.
 */
export function refuseDamagedRecords(
  environment: Environment,
  note: (tableId: number, key: Uint8Array) => void,
): void {
  const { tables, pending } = environment.catalog();
  let first: CacheError | null = null;
  for (const { id, plan } of [...tables, ...pending]) {
    const { rows: expected } = environment.tableState(id);
    let rows = 0;
    let damaged = 0;
    for (const { key, value } of environment.rows(id).getRange({})) {
      rows++;
      if (recordIsSound(checksum, key, value, value.length)) continue;
      first ??= damagedRecord(plan.name, key);
      note(id, key);
      if (++damaged > MAX_DAMAGED_RECORDS) throw first;
    }
    if (rows !== expected) throw wrongCount(plan.name, rows, expected);
  }
  if (first !== null) throw first;
}

function wrongCount(table: string, rows: number, expected: number): CacheError {
  return new CacheError(
    'CACHE_CORRUPT',
    `The table ${JSON.stringify(table)} has ${rows} records in the cache, which says it has ${expected}.`,
    {
      context: { table, rows, expected },
      hint: 'Run `storage-sync rebuild`: the source has everything.',
    },
  );
}
