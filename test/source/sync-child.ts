import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import {
  StorageSync,
  StorageSyncError,
  WorkerPool,
  type StorageSyncOptions,
  type SyncReport,
} from '../../src/index.js';

/** What became of one sync. */
export interface SyncOutcome {
  readonly report?: SyncReport;
  readonly error?: { readonly name: string; readonly code: string; readonly message: string };
  /** The most memory that the process had resident until then. */
  readonly maxRssBytes: number;
}

/** What became of a process that synced. */
export interface ChildOutcome {
  /** How the process ended: `0`, or the signal that killed it. */
  readonly exit: string;
  readonly outcomes: readonly SyncOutcome[];
  readonly stderr: string;
}

/** Syncs, one after the other, in a process of its own: for what may bring a process down. */
export async function syncInChild(syncs: readonly StorageSyncOptions[]): Promise<ChildOutcome> {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), JSON.stringify(syncs)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const exit = await new Promise<string>((resolve) => {
    child.on('close', (code, signal) => resolve(signal ?? String(code)));
  });
  const outcomes = stdout === '' ? [] : (JSON.parse(stdout) as SyncOutcome[]);
  return { exit, outcomes, stderr };
}

async function main(syncs: readonly StorageSyncOptions[]): Promise<void> {
  await using pool = new WorkerPool({ readerThreads: 1 });
  const outcomes: SyncOutcome[] = [];
  for (const options of syncs) {
    await using storage = await StorageSync.open({ ...options, pool });
    const told = await storage.sync().then(
      (report) => ({ report }),
      (error: unknown) => {
        if (!(error instanceof StorageSyncError)) throw error;
        return { error: { name: error.name, code: error.code, message: error.message } };
      },
    );
    outcomes.push({ ...told, maxRssBytes: process.resourceUsage().maxRSS * 1024 });
  }
  process.stdout.write(JSON.stringify(outcomes));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(JSON.parse(process.argv[2]!) as StorageSyncOptions[]);
}
