import { closeSync, openSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as v from 'valibot';
import { FILE_MODE, readSmallFile, WRITTEN_ANEW } from './files.js';
import { dataPath } from './layout.js';
import { currentHolder } from './lock.js';

/**
 * What is known of a generation's data file, so that it need not be looked at page by page each time it is opened:
 * which process writes it, or as what it was left behind when it was last known to be sound.
 */
export type Seal = WriterSeal | SealedState;

/** The writer is known by its process and by when it took the cache's lock: numbers of processes come again. */
interface WriterSeal {
  readonly writer: number;
  readonly since: string | null;
}

export interface SealedState extends FileState {
  /** Whether only its pages were looked at, and not what the records on them hold. */
  readonly pagesOnly?: boolean;
}

/** A change to the file changes one of these. */
export interface FileState {
  readonly bytes: number;
  /** In nanoseconds, as decimal digits. */
  readonly modified: string;
}

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const schema = v.union([
  v.object({ writer: count, since: v.nullable(v.string()) }),
  v.object({ bytes: count, modified: v.string(), pagesOnly: v.exactOptional(v.boolean()) }),
]);

/** @returns null where there is none that could be read. */
export function readSeal(generationDir: string): Seal | null {
  try {
    return v.parse(schema, JSON.parse(readSmallFile(sealPath(generationDir))));
  } catch {
    return null;
  }
}

/** Says that the file was sound, and that from now on this process changes it. */
export function sealForWriter(generationDir: string): void {
  const since = currentHolder(dirname(dirname(generationDir)))?.startedAt ?? null;
  writeSeal(generationDir, () => ({ writer: process.pid, since }));
}

/** Says that the file is sound as it is. */
export function sealFile(generationDir: string): void {
  writeSeal(generationDir, () => fileState(generationDir));
}

/** Says that the pages of the file are sound as they are, or as they were in a state. */
export function sealPages(generationDir: string, state?: FileState): void {
  writeSeal(generationDir, () => ({ ...(state ?? fileState(generationDir)), pagesOnly: true }));
}

/** Whether the file is as it was when it was left behind by who wrote it, who knew all that it holds. */
export function isSealedWhole(generationDir: string): boolean {
  const seal = readSeal(generationDir);
  if (seal === null || 'writer' in seal || seal.pagesOnly) return false;
  try {
    return sameState(seal, fileState(generationDir));
  } catch {
    // A file that is not there is not sealed.
    return false;
  }
}

export function fileState(generationDir: string): FileState {
  const { size, mtimeNs } = statSync(dataPath(generationDir), { bigint: true });
  return { bytes: Number(size), modified: String(mtimeNs) };
}

export function sameState(a: FileState, b: FileState): boolean {
  return a.bytes === b.bytes && a.modified === b.modified;
}

function writeSeal(generationDir: string, seal: () => Seal): void {
  const path = sealPath(generationDir);
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const fd = openSync(temporary, WRITTEN_ANEW, FILE_MODE);
    try {
      writeFileSync(fd, JSON.stringify(seal()));
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch {
    // It only spares a look. Whoever may not write here, or has no room, looks again.
  }
}

function sealPath(generationDir: string): string {
  return join(generationDir, 'seal.json');
}
