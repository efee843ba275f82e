import { accessSync, constants, existsSync, statfsSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { diskUsage } from '../cache/disk-usage.js';
import { readSmallFile } from '../cache/files.js';
import { describeSnapshot } from '../cache/held-snapshots.js';
import { dataPath, lockPath } from '../cache/layout.js';
import { currentHolder, type LockHolder } from '../cache/lock.js';
import { inspectPages } from '../cache/preflight.js';
import { refuseOpenToAll } from '../cache/safe-directory.js';
import { lookAtStatus, type CacheStatus } from '../cache/status.js';
import { formatBytes, formatDuration, formatPlural } from '../format.js';
import type { ResolvedOptions } from '../options.js';
import { foldName } from '../source/introspection.js';
import { failedFinding, finding, skippedFindings, someOf, type Finding } from './finding.js';

/** File systems over a network, by the numbers of statfs(2): NFS, SMB, CIFS, SMB2, Ceph. */
const NETWORK_FILE_SYSTEMS = new Set([0x6969, 0x517b, 0xff534d42, 0xfe534d42, 0x00c36400]);
/** What is looked at behind `cache.pages`, which needs a cache that can be opened. */
const FURTHER_CHECKS = ['cache.damage', 'cache.syncs', 'cache.modes', 'cache.readers'];
/** From here on a table should not be read in full by each sync. */
const LARGE_ROWS = 100_000;
/** A sync that takes so long should be looked at. */
const LONG_WRITING_MS = 3_600_000;

const SYNC_HINT = 'Run `storage-sync sync`.';

/** What to do about the failures that syncs note most. */
const FAILURE_HINTS: Readonly<Record<string, string>> = {
  SOURCE_UNAVAILABLE: 'See source.reachable; the next sync that reaches the source sets it right.',
  SOURCE_TIMEOUT: 'See source.latency; raise --request-timeout.',
  SOURCE_UNAUTHORIZED: 'Set TURSO_AUTH_TOKEN to a token of this database.',
  CACHE_FULL: 'Free some space, and sync again.',
  CACHE_CORRUPT: "Run `storage-sync rebuild`. Damage that comes again is the disk's.",
  CACHE_SNAPSHOT_HELD: 'See cache.readers.',
  LOSS_SUSPECTED: 'Look at the source. If it is right, run `storage-sync sync --allow-loss` once.',
  ROW_REJECTED: 'Correct the row, or sync with --on-row-error quarantine.',
};
const OTHER_FAILURE_HINT = 'docs/errors.md says what to do about each code.';

/** Looks at the cache and its directory. Opens it as a reader does, and makes no file there. */
export async function checkCache(options: ResolvedOptions): Promise<Finding[]> {
  const cacheDir = resolve(options.cacheDir);
  const findings = [
    checking('cache.directory', () => directoryFinding(cacheDir)),
    checking('cache.owner', () => ownerFinding(cacheDir)),
    await diskFinding(cacheDir),
  ];
  if (!existsSync(cacheDir)) {
    return [...findings, finding('cache.state', 'warning', 'there is no cache yet', SYNC_HINT)];
  }
  return [...findings, ...(await statusFindings(cacheDir, options))];
}

/** A check that fails is a finding; the others go on. */
function checking(check: string, look: () => Finding): Finding {
  try {
    return look();
  } catch (error) {
    return failedFinding(check, error);
  }
}

/** The directory, or where there is none, that in which it would be made. */
function nearestDirectory(cacheDir: string): string {
  let dir = cacheDir;
  while (!existsSync(dir) && dirname(dir) !== dir) dir = dirname(dir);
  return dir;
}

function directoryFinding(cacheDir: string): Finding {
  const dir = nearestDirectory(cacheDir);
  const shown = JSON.stringify(dir);
  const otherCache = 'Choose another --cache directory.';
  if (!statSync(dir).isDirectory()) {
    return finding('cache.directory', 'failed', `${shown} is not a directory`, otherCache);
  }
  try {
    accessSync(dir, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch {
    const hint =
      'Run it as the user who syncs, give this user the right to write there, or choose another --cache directory. Reading takes that right, too.';
    const found = `${shown} cannot be read and written by this user`;
    return finding('cache.directory', 'failed', found, hint);
  }
  if (NETWORK_FILE_SYSTEMS.has(statfsSync(dir).type)) {
    const found = `${shown} is on a network file system`;
    const hint = `${otherCache} It must be on a local disk, for LMDB maps its file.`;
    return finding('cache.directory', 'failed', found, hint);
  }
  return finding('cache.directory', 'ok', `${shown} can be read and written`);
}

function ownerFinding(cacheDir: string): Finding {
  const warning = refuseOpenToAll(cacheDir);
  if (warning === null) return finding('cache.owner', 'ok', 'nobody else may change what is in it');
  return finding('cache.owner', 'warning', warning, "Make it its user's alone (`chmod 700`).");
}

async function diskFinding(cacheDir: string): Promise<Finding> {
  try {
    const used = await diskUsage(cacheDir);
    const { bavail, bsize } = statfsSync(nearestDirectory(cacheDir));
    const free = bavail * bsize;
    const found = `the cache takes ${formatBytes(used)}, ${formatBytes(free)} are free`;
    // A rebuild, or a table that changed, is a second copy for a while.
    if (free >= used) return finding('cache.disk', 'ok', found);
    const hint =
      'Free as much as the cache takes: a rebuild, or a table whose schema changed, is a second copy for a while.';
    return finding('cache.disk', 'warning', found, hint);
  } catch (error) {
    return failedFinding('cache.disk', error);
  }
}

function sizeOf(generationDir: string): string {
  return formatBytes(statSync(dataPath(generationDir)).size);
}

/** Why a cache is not opened though nothing is wrong with it. */
class NotOpened extends Error {}

const NOT_OPENED = finding(
  'cache.state',
  'skipped',
  'it was not opened since it was copied here, and files would be made for that',
  'Run `storage-sync status`.',
);

async function statusFindings(cacheDir: string, options: ResolvedOptions): Promise<Finding[]> {
  let pages: Finding = finding('cache.pages', 'skipped', 'nothing is served yet');
  const look = (generationDir: string): void => {
    try {
      pages = inspectPages(generationDir)
        ? finding('cache.pages', 'ok', `all pages of its ${sizeOf(generationDir)} are sound`)
        : finding('cache.pages', 'skipped', 'it was written while its pages were looked at');
    } catch (error) {
      pages = failedFinding('cache.pages', error);
      throw error;
    }
    // LMDB would make them.
    if (!['lock.mdb', 'commit.lock'].every((name) => existsSync(join(generationDir, name)))) {
      throw new NotOpened();
    }
  };
  try {
    const status = await lookAtStatus(cacheDir, options, look);
    // What an interrupted first sync left may be anything: the next one begins anew where it cannot be used.
    if (status.state === 'empty') {
      pages = finding('cache.pages', 'skipped', 'nothing is served yet');
    }
    return [
      pages,
      stateFinding(status, options),
      damageFinding(status),
      failuresFinding(status),
      writerFinding(cacheDir, status.holder),
      modesFinding(status, options),
      ...readerFindings(status),
    ];
  } catch (error) {
    const writer = checking('cache.writer', () => writerFinding(cacheDir, currentHolder(cacheDir)));
    const why = 'the cache is not opened';
    const state = error instanceof NotOpened ? NOT_OPENED : failedFinding('cache.state', error);
    return [pages, state, writer, ...skippedFindings(FURTHER_CHECKS, why)];
  }
}

function stateFinding(
  { state, ageMs, isFresh, lastError, tables }: CacheStatus,
  { staleAfterMs, autoRebuild }: ResolvedOptions,
): Finding {
  if (state === 'corrupt') {
    const hint = autoRebuild
      ? 'Run `storage-sync sync`, which builds the cache anew; then look at the disk.'
      : 'Run `storage-sync rebuild`; then look at the disk.';
    const why = lastError?.message ?? 'the cache cannot be opened';
    return { ...finding('cache.state', 'failed', why, hint), code: 'CACHE_CORRUPT' };
  }
  const names = Object.keys(tables);
  if (state === 'empty') {
    const found =
      names.length === 0
        ? 'no sync was completed yet'
        : `the first sync was interrupted, with ${formatPlural(names.length, 'table')} begun`;
    return finding('cache.state', 'warning', found, `${SYNC_HINT} It goes on from there.`);
  }
  const age = ageMs === null ? 'of an age that cannot be told' : `${formatDuration(ageMs)} old`;
  const found = `${state}, ${age}, ${formatPlural(names.length, 'table')}`;
  if (isFresh || state === 'syncing') return finding('cache.state', 'ok', found);
  const hint = `Run \`storage-sync sync\`, or keep \`storage-sync watch\` running. It is stale after ${formatDuration(staleAfterMs)} (staleAfterMs), or when syncs fail.`;
  return finding('cache.state', 'warning', found, hint);
}

function damageFinding({ tables, rebuildDue, state }: CacheStatus): Finding {
  if (state === 'corrupt') return finding('cache.damage', 'skipped', 'the cache cannot be opened');
  const damaged = Object.entries(tables).filter(([, { damagedRecords }]) => damagedRecords > 0);
  if (rebuildDue) {
    const hint = 'Run `storage-sync sync`, which builds the cache anew; then look at the disk.';
    return finding('cache.damage', 'failed', 'reads met more damage than single records', hint);
  }
  if (damaged.length === 0) return finding('cache.damage', 'ok', 'reads have noted no damage');
  const records = damaged.reduce((sum, [, { damagedRecords }]) => sum + damagedRecords, 0);
  const found = `reads met ${formatPlural(records, 'damaged record')} of ${someOf(damaged.map(([name]) => name))}`;
  const hint = 'Run `storage-sync sync`, which fetches them anew; then look at the disk.';
  return finding('cache.damage', 'warning', found, hint);
}

function failuresFinding({ failedSyncs, lastError, state }: CacheStatus): Finding {
  if (failedSyncs === 0 || lastError === null || state === 'corrupt') {
    return finding('cache.syncs', 'ok', 'no sync has failed since the last complete one');
  }
  const { at, code, message } = lastError;
  const found = `${formatPlural(failedSyncs, 'sync')} failed since the last complete one; at ${at} with ${code}: ${message}`;
  return finding('cache.syncs', 'warning', found, FAILURE_HINTS[code] ?? OTHER_FAILURE_HINT);
}

function writerFinding(cacheDir: string, holder: LockHolder | null): Finding {
  if (holder === null) return idleFinding(cacheDir);
  const { pid, host, mode, startedAt } = holder;
  const ms = Date.now() - Date.parse(startedAt);
  const since = Number.isFinite(ms)
    ? `for ${formatDuration(Math.max(0, ms))}`
    : 'since a time unknown';
  const found = `process ${pid} on ${host} writes the cache (${mode}) ${since}`;
  const refused = 'Another sync is refused meanwhile (CACHE_LOCKED); reads go on.';
  if (host === hostname() && !isAlive(pid)) {
    const hint = `${refused} That process cannot be seen from here: it may be in another container. Its lock ends with it.`;
    return finding('cache.writer', 'warning', found, hint);
  }
  if (ms < LONG_WRITING_MS) return finding('cache.writer', 'ok', found, refused);
  const hint = `${refused} To stop it: kill ${pid}. It ends at its next batch, and the next sync goes on from there.`;
  return finding('cache.writer', 'warning', found, hint);
}

/** Of a cache whose lock nobody holds. A holder that ended by itself has taken its name off it. */
function idleFinding(cacheDir: string): Finding {
  const path = lockPath(cacheDir);
  const idle = finding('cache.writer', 'ok', 'no process writes the cache');
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return idle;
    const found = 'whether it is being written cannot be told without the right to its lock';
    return finding('cache.writer', 'skipped', found);
  }
  const last = lastHolder(path);
  if (last === null) return idle;
  const hint =
    'The lock ended with it, so there is nothing to remove. The next sync goes on from its last batch.';
  return { ...idle, found: `${idle.found}; process ${last} was killed while it did`, hint };
}

function lastHolder(path: string): number | null {
  try {
    const { pid } = JSON.parse(readSmallFile(path)) as { readonly pid?: unknown };
    return typeof pid === 'number' ? pid : null;
  } catch {
    return null;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Of another user's process it says EPERM.
    return !(error instanceof Error && 'code' in error && error.code === 'ESRCH');
  }
}

function modesFinding({ tables, state }: CacheStatus, options: ResolvedOptions): Finding {
  if (state === 'corrupt') return finding('cache.modes', 'skipped', 'the cache cannot be opened');
  const chosen = new Set(
    (options.tables ?? []).filter(({ mode }) => mode === 'full').map(({ name }) => foldName(name)),
  );
  const slow = Object.entries(tables)
    .filter(([name, { mode, rows }]) => {
      return mode === 'full' && rows >= LARGE_ROWS && !chosen.has(foldName(name));
    })
    .map(([name]) => name);
  if (slow.length === 0) {
    return finding('cache.modes', 'ok', 'no large table is read in full by each sync');
  }
  const found = `each sync reads all rows of ${someOf(slow)}`;
  const hint =
    'Run `storage-sync capture install`, so that syncs read what changed; or define a cursor: docs/choosing-a-mode.md.';
  return finding('cache.modes', 'warning', found, hint);
}

function readerFindings({ snapshots, state }: CacheStatus): Finding[] {
  if (state === 'corrupt') return skippedFindings(['cache.readers'], 'the cache cannot be opened');
  if (snapshots.length === 0) {
    return [finding('cache.readers', 'ok', 'no reader holds an old state')];
  }
  const hint =
    'Close snapshots and end iterators soon: what they see keeps the file from being used again. It ends with the process, too.';
  return snapshots.map((each) => finding('cache.readers', 'warning', describeSnapshot(each), hint));
}
