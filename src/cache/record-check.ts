import { CacheError } from '../errors.js';
import { loadChecksum } from '../transform/checksum.js';
import type { Environment } from './environment.js';
import { damagedRecord, recordIsSound } from './record.js';

const checksum = await loadChecksum();

/**
 * Reads every record of a generation: whoever goes on from its checkpoints relies on them, and a sync that follows
 * changes looks at none that did not change.
 *
 * @throws {CacheError} `CACHE_CORRUPT` naming the first that is damaged, or the table that has fewer than it says.
 */
export function refuseDamagedRecords(environment: Environment): void {
  const { tables, pending } = environment.catalog();
  for (const { id, plan } of [...tables, ...pending]) {
    const { rows: expected } = environment.tableState(id);
    let rows = 0;
    for (const { key, value } of environment.rows(id).getRange({})) {
      if (!recordIsSound(checksum, key, value, value.length)) throw damagedRecord(plan.name, key);
      rows++;
    }
    if (rows === expected) continue;
    throw new CacheError(
      'CACHE_CORRUPT',
      `The table ${JSON.stringify(plan.name)} has ${rows} records in the cache, which says it has ${expected}.`,
      {
        context: { table: plan.name, rows, expected },
        hint: 'Run `storage-sync rebuild`: the source has everything.',
      },
    );
  }
}
