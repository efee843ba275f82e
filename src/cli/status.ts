import { describeSnapshot } from '../cache/held-snapshots.js';
import { readStatus, type CacheStatus, type CheckpointStatus } from '../cache/status.js';
import type { CommandContext } from './command-run.js';
import { EXIT_DONE } from './exit-code.js';
import { formatCount, formatDuration, formatPlural, printable } from '../format.js';
import { cacheSettings, type CacheFlags } from './settings.js';
import { textTable } from './text-table.js';

/** `storage-sync status`: tells what state the cache is in. Done whatever the state is. */
export async function status(
  flags: CacheFlags,
  { output, secrets }: CommandContext,
): Promise<number> {
  const { cacheDir, ...settings } = await cacheSettings(flags, secrets);
  const found = await readStatus(cacheDir, settings);
  if (output.json) await output.document(found);
  else await output.write(secrets.redact(statusText(found)));
  return EXIT_DONE;
}

function statusText(found: CacheStatus): string {
  const age = found.ageMs === null ? '' : ` (${formatDuration(found.ageMs)} ago)`;
  const facts = [
    `state       ${found.state}`,
    `generation  ${found.generation ?? 'none'}`,
    `last sync   ${found.lastSyncAt ?? 'never'}${age}`,
  ];
  if (found.holder) {
    const { pid, host, startedAt } = found.holder;
    facts.push(`writer      process ${pid} on ${printable(host)}, since ${startedAt}`);
  }
  facts.push(...found.snapshots.map((each) => `snapshot    ${printable(describeSnapshot(each))}`));
  if (found.lastError) {
    const { at, code, message } = found.lastError;
    facts.push(`last error  ${code} at ${at}: ${printable(message)}`);
    facts.push(
      `failed      ${formatPlural(found.failedSyncs, 'sync')} since the last complete one`,
    );
  }
  const damaged = Object.entries(found.tables).flatMap(([name, { damagedRecords }]) =>
    damagedRecords > 0 ? [`${formatCount(damagedRecords)} of ${printable(name)}`] : [],
  );
  if (damaged.length > 0) {
    facts.push(`damaged     records: ${damaged.join(', ')}; the next sync repairs them`);
  }
  if (found.rebuildDue) {
    facts.push('damaged     more than single records; the next sync builds the cache anew');
  }
  const tables = Object.entries(found.tables).map(([name, table]) => [
    name,
    formatCount(table.rows),
    table.mode,
    checkpointText(table.checkpoint),
  ]);
  if (tables.length === 0) return `${facts.join('\n')}\n`;
  const titles = [
    { title: 'table' },
    { title: 'rows', align: 'right' },
    { title: 'mode' },
    { title: 'checkpoint' },
  ] as const;
  return `${facts.join('\n')}\n\n${textTable(titles, tables)}\n`;
}

function checkpointText(checkpoint: CheckpointStatus | null): string {
  if (checkpoint === null) return 'none';
  const { phase, rowsRead, updatedAt } = checkpoint;
  return `${phase}, ${formatPlural(rowsRead, 'row')} read at ${updatedAt}`;
}
