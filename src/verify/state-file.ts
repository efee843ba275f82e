import { readFile, rm } from 'node:fs/promises';
import { writeFileAtomic } from '../cache/files.js';
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

const FORMAT = 1;

/** What an interrupted deep verify of the same kind left, or null. It is for going on: unreadable, there is none. */
export async function readProgress(cacheDir: string, of: string): Promise<VerifyProgress | null> {
  try {
    const text = await readFile(verifyStatePath(cacheDir), 'utf8');
    const saved = JSON.parse(text) as VerifyProgress & { readonly format: number };
    return saved.format === FORMAT && saved.of === of ? saved : null;
  } catch {
    return null;
  }
}

export async function writeProgress(cacheDir: string, progress: VerifyProgress): Promise<void> {
  const path = verifyStatePath(cacheDir);
  await writeFileAtomic(path, `${JSON.stringify({ format: FORMAT, ...progress })}\n`);
}

export async function removeProgress(cacheDir: string): Promise<void> {
  await rm(verifyStatePath(cacheDir), { force: true });
}
