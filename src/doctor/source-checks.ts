import { CaptureError, SourceError } from '../errors.js';
import { formatDuration, formatPlural } from '../format.js';
import { cursorWarnings } from '../mode-warnings.js';
import type { ResolvedOptions } from '../options.js';
import { readCaptures, type Capture, type Captures } from '../source/change-log/capture-status.js';
import { CAPTURE_TABLE, logName, READER_TABLE } from '../source/change-log/layout.js';
import { refuseUnserializedWriters } from '../source/change-log/writers.js';
import { inTurn, type SourceConnection } from '../source/connection.js';
import { isIndexed } from '../source/cursor-look.js';
import { foldName, introspect, type SourceSchema } from '../source/introspection.js';
import { plainTransportWarning } from '../source/plain-transport.js';
import { planTables, type TablePlan } from '../source/plan.js';
import { connectQuietly } from '../source/quiet-connection.js';
import { failedFinding, finding, skippedFindings, someOf, type Finding } from './finding.js';

/** What is looked at behind `source.reachable`, which needs a source that answers. */
const FURTHER_CHECKS = [
  'source.version',
  'source.latency',
  'source.tables',
  'source.cursors',
  'source.capture',
];
/** Requests of which the one in the middle is told, and how long they may take together. */
const PINGS = 5;
const PINGING_MS = 3000;
/** From here on the round trips of a sync, three at the least, are what it takes most of its time for. */
const SLOW_MS = 150;
/** Versions that a log spans, from which on it should be compacted. */
const MANY_CHANGES = 1_000_000;
/** A reader that was away for so long, and has not seen all changes, may be gone. */
const LONG_UNSEEN_MS = 7 * 24 * 3_600_000;

/**
 * Looks at the source: whether it can be reached, how quick it is, which tables it has, and its change logs. Counts no
 * rows, which a server may bill.
 */
export async function checkSource(options: ResolvedOptions): Promise<Finding[]> {
  let connection: SourceConnection;
  try {
    // A connection that breaks off may be chance. But a diagnosis does not wait for a source that is away.
    const retries = Math.min(options.retries, 1);
    connection = await connectQuietly({ ...options, ...options.source, retries });
  } catch (error) {
    return unreachable(error, options);
  }
  try {
    const schema = await connection.snapshot(async (query) => await introspect(inTurn(query)));
    return [
      finding('source.reachable', 'ok', 'the source answers'),
      tokenFinding(options),
      await checking('source.version', () => versionFinding(connection, options)),
      await checking('source.latency', () => latencyFinding(connection)),
      ...(await tableFindings(connection, schema, options)),
      ...(await captureFindings(connection, schema)),
    ];
  } catch (error) {
    return unreachable(error, options);
  } finally {
    await connection.close();
  }
}

function unreachable(error: unknown, options: ResolvedOptions): Finding[] {
  const skipped = skippedFindings(FURTHER_CHECKS, 'the source cannot be read');
  if (error instanceof SourceError && error.code === 'SOURCE_UNAUTHORIZED') {
    return [
      finding('source.reachable', 'ok', 'the source answers'),
      failedFinding('source.token', error, 'Set TURSO_AUTH_TOKEN to a token of this database.'),
      ...skipped,
    ];
  }
  return [
    failedFinding('source.reachable', error, 'Check the URL of --source, and that it is up.'),
    tokenFinding(options),
    ...skipped,
  ];
}

/** A check that fails is a finding; the others go on. */
async function checking(check: string, look: () => Promise<Finding>): Promise<Finding> {
  try {
    return await look();
  } catch (error) {
    return failedFinding(check, error);
  }
}

function tokenFinding({ source }: ResolvedOptions): Finding {
  const warning = plainTransportWarning(source);
  if (warning === null)
    return finding('source.token', 'ok', 'no token crosses a network in the open');
  return finding('source.token', 'warning', warning, 'Use a URL of libsql:, https: or wss:.');
}

async function versionFinding(
  connection: SourceConnection,
  { transport: asked }: ResolvedOptions,
): Promise<Finding> {
  const version = await sqliteVersion(connection);
  const found = `${version}, read by ${connection.transport}`;
  if (connection.transport !== 'http-pipeline' || asked !== 'auto') {
    return finding('source.version', 'ok', found);
  }
  const hint =
    'The server has no cursors (Hrana 3), so that each page of rows is a request of its own. Newer servers have them.';
  return finding('source.version', 'warning', found, hint);
}

async function sqliteVersion(connection: SourceConnection): Promise<string> {
  try {
    const [row] = await connection.query('SELECT sqlite_version()');
    return `SQLite ${String(row![0])}`;
  } catch (error) {
    // A server may keep it to itself.
    if (error instanceof SourceError && error.code === 'SOURCE_SQL') return 'an unknown version';
    throw error;
  }
}

async function latencyFinding(connection: SourceConnection): Promise<Finding> {
  const times: number[] = [];
  const begun = performance.now();
  while (times.length < PINGS && performance.now() - begun < PINGING_MS) {
    const asked = performance.now();
    await connection.query('SELECT 1');
    times.push(performance.now() - asked);
  }
  const median = times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)]!;
  const shown = median < 1 ? 'less than 1 ms' : formatDuration(median);
  const found = `a request takes ${shown}`;
  if (median <= SLOW_MS) return finding('source.latency', 'ok', found);
  const hint =
    'A sync waits for three requests at the least, and for more with each further million rows: run it nearer to the source, or less often. Raise --request-timeout where requests time out.';
  return finding('source.latency', 'warning', found, hint);
}

async function tableFindings(
  connection: SourceConnection,
  schema: SourceSchema,
  { tables }: ResolvedOptions,
): Promise<Finding[]> {
  let plans: readonly TablePlan[];
  let warnings: readonly string[];
  try {
    ({ plans, warnings } = planTables(schema, tables));
  } catch (error) {
    const failed = failedFinding('source.tables', error);
    return [failed, ...skippedFindings(['source.cursors'], 'the tables cannot be synced')];
  }
  const names = plans.map(({ name }) => name);
  const found = `${formatPlural(plans.length, 'table')} to sync`;
  const tablesHint = 'See `storage-sync tables --source …`, and `tables` in the configuration.';
  return [
    plans.length > 0
      ? finding('source.tables', 'ok', `${found}: ${someOf(names)}`)
      : finding('source.tables', 'warning', found, tablesHint),
    ...warnings.map((warning) => finding('source.tables', 'warning', warning, tablesHint)),
    await checking('source.cursors', () => cursorFinding(connection, plans)),
  ];
}

async function cursorFinding(
  connection: SourceConnection,
  plans: readonly TablePlan[],
): Promise<Finding> {
  const followed = plans.filter(({ cursor }) => cursor !== null);
  if (followed.length === 0) {
    return finding('source.cursors', 'ok', 'no table is to be followed by a cursor');
  }
  const looks = [];
  for (const plan of followed) {
    const [row] = await connection.query(`SELECT ${isIndexed(plan)}`);
    looks.push({ table: plan.name, indexed: Number(row![0]) === 1, problem: null });
  }
  const warnings = cursorWarnings(plans, looks);
  if (warnings.length > 0) {
    return finding('source.cursors', 'warning', warnings.join(' '), 'Create such an index.');
  }
  const found = `${formatPlural(followed.length, 'table')} with a cursor that has an index`;
  return finding('source.cursors', 'ok', found);
}

async function captureFindings(
  connection: SourceConnection,
  schema: SourceSchema,
): Promise<Finding[]> {
  try {
    if (!schema.others.has(CAPTURE_TABLE)) return [await noCapture(connection)];
    return await connection.snapshot(async (query) => {
      const captures = await readCaptures(inTurn(query), schema);
      const findings = [];
      for (const capture of captures.captures) {
        findings.push(await logFinding(query, captures, capture));
      }
      return findings.length > 0 ? findings : [await noCapture(connection)];
    });
  } catch (error) {
    return [failedFinding('source.capture', error)];
  }
}

async function noCapture({ query }: SourceConnection): Promise<Finding> {
  const found = 'there is no change log: tables are read in full, or by their cursors';
  try {
    await refuseUnserializedWriters(query);
  } catch (error) {
    if (!(error instanceof CaptureError)) throw error;
    return finding('source.capture', 'ok', `${found}. ${error.message}`, error.hint);
  }
  const hint =
    'With `storage-sync capture install` syncs read what changed, and nothing else. It adds triggers to the source.';
  return finding('source.capture', 'ok', found, hint);
}

async function logFinding(
  query: SourceConnection['query'],
  { objects }: Captures,
  { id, table, problem }: Capture,
): Promise<Finding> {
  const name = JSON.stringify(table);
  if (problem !== null) {
    const found = `the log of ${name} cannot be relied on, so the table is read in full: ${problem}`;
    const hint = 'Run `storage-sync capture install`, which begins it anew.';
    return finding('source.capture', 'warning', found, hint);
  }
  // Either end of a log is one look; counting would read all of it.
  const log = logName(id);
  const [ends] = await query(
    `SELECT (SELECT min(version) FROM main.${log}), (SELECT max(version) FROM main.${log})`,
  );
  const oldest = Number(ends![0] ?? 0);
  const newest = Number(ends![1] ?? 0);
  const span = newest === 0 ? 0 : newest - oldest + 1;
  const readers = objects.has(foldName(READER_TABLE))
    ? await query(`SELECT version, seen_at FROM main.${READER_TABLE} WHERE id = ?`, [id])
    : [];
  const gone = readers.filter(
    ([version, seenAt]) => Number(version) < newest && Date.now() - Number(seenAt) > LONG_UNSEEN_MS,
  );
  if (gone.length > 0) {
    const found = `the log of ${name} keeps changes for ${formatPlural(gone.length, 'reader')} not seen for a week`;
    const hint = 'If they are gone for good: `storage-sync capture compact --forget-readers 168h`.';
    return finding('source.capture', 'warning', found, hint);
  }
  const found = `the log of ${name} is whole: ${formatPlural(span, 'change')} at most, ${formatPlural(readers.length, 'reader')}`;
  if (span < MANY_CHANGES) return finding('source.capture', 'ok', found);
  const hint = 'Run `storage-sync capture compact`, which removes what every reader has seen.';
  return finding('source.capture', 'warning', found, hint);
}
