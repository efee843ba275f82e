import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { readSmallFile, writeFileAtomic } from '../cache/files.js';
import { verifyStatePath } from '../cache/layout.js';
import type { SavedFindings } from './table-findings.js';

/** How far a deep verify has come in one table. Bytes are base64. */
export interface TableProgress {
  readonly findings: SavedFindings;
  /** Where the next page begins, or null at the start. */
  readonly position: string | null;
  readonly after: string | null;
  /** Of a table whose pages do not come in the order of its keys: see `SeenKeys`. */
  readonly sums: string | null;
  /** True when all rows were compared. */
  readonly rowsDone: boolean;
  readonly done: boolean;
}

export interface VerifyProgress {
  /** What it goes on with only if it is still so: the generation, the tables' plans, and what was asked for. */
  readonly of: string;
  readonly startedAt: string;
  readonly tables: Readonly<Record<string, TableProgress>>;
}

const FORMAT = 2;

interface SavedProgress {
  readonly format: number;
  /** Of the progress as JSON: what is damaged would be taken for what was found. */
  readonly digest: string;
  readonly progress: VerifyProgress;
}

/** What an interrupted deep verify of the same kind left, or null. It is for going on: unreadable, there is none. */
export function readProgress(cacheDir: string, of: string): VerifyProgress | null {
  try {
    const text = readSmallFile(verifyStatePath(cacheDir));
    const { format, digest, progress } = JSON.parse(text) as SavedProgress;
    if (format !== FORMAT || digest !== digestOf(progress)) return null;
    return progress.of === of ? progress : null;
  } catch {
    return null;
  }
}

export async function writeProgress(cacheDir: string, progress: VerifyProgress): Promise<void> {
  const path = verifyStatePath(cacheDir);
  const saved: SavedProgress = { format: FORMAT, digest: digestOf(progress), progress };
  await writeFileAtomic(path, `${JSON.stringify(saved)}\n`);
}

function digestOf(progress: VerifyProgress): string {
  return createHash('sha256').update(JSON.stringify(progress)).digest('base64url');
}

export async function removeProgress(cacheDir: string): Promise<void> {
  await rm(verifyStatePath(cacheDir), { force: true });
}
