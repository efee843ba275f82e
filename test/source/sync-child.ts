import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import {
  StorageSync,
  StorageSyncError,
  type StorageSyncOptions,
  type SyncReport,
} from '../../src/index.js';

/** What became of a sync in a process of its own. */
export interface ChildOutcome {
  /** How the process ended: `0`, or the signal that killed it. */
  readonly exit: string;
  readonly report?: SyncReport;
  readonly error?: { readonly name: string; readonly code: string; readonly message: string };
  /** The most memory that the process had resident. */
  readonly maxRssBytes?: number;
  readonly stderr: string;
}

/** Syncs in a process of its own, for what may bring a process down. */
export async function syncInChild(options: StorageSyncOptions): Promise<ChildOutcome> {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => (stdout += String(chunk)));
  child.stderr.on('data', (chunk) => (stderr += String(chunk)));
  const exit = await new Promise<string>((resolve) => {
    child.on('close', (code, signal) => resolve(signal ?? String(code)));
  });
  const told = stdout.trim() === '' ? {} : (JSON.parse(stdout) as Omit<ChildOutcome, 'exit'>);
  return { ...told, exit, stderr };
}

async function main(options: StorageSyncOptions): Promise<void> {
  await using storage = await StorageSync.open(options);
  let told: object;
  try {
    told = { report: await storage.sync() };
  } catch (error) {
    if (!(error instanceof StorageSyncError)) throw error;
    const { name, code, message } = error;
    told = { error: { name, code, message } };
  }
  const maxRssBytes = process.resourceUsage().maxRSS * 1024;
  process.stdout.write(JSON.stringify({ ...told, maxRssBytes }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(JSON.parse(process.argv[2]!) as StorageSyncOptions);
}
