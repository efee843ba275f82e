import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { FILE_MODE } from './files.js';
import { dataPath } from './layout.js';
import { currentHolder } from './lock.js';

/**
 * What is known of a generation's data file, so that it need not be looked at page by page each time it is opened:
 * which process writes it, or as what it was left behind when it was last known to be sound.
 */
export type Seal = WriterSeal | FileState;

/** The writer is known by its process and by when it took the cache's lock: numbers of processes come again. */
interface WriterSeal {
  readonly writer: number;
  readonly since: string | null;
}

/** A change to the file changes one of these. */
export interface FileState {
  readonly bytes: number;
  /** In nanoseconds, as decimal digits. */
  readonly modified: string;
}

/** @returns null where there is none that could be read. */
export function readSeal(generationDir: string): Seal | null {
  try {
    return JSON.parse(readFileSync(sealPath(generationDir), 'utf8')) as Seal;
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
export function sealFile(generationDir: string, state?: FileState): void {
  writeSeal(generationDir, () => state ?? fileState(generationDir));
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
    writeFileSync(temporary, JSON.stringify(seal()), { mode: FILE_MODE });
    renameSync(temporary, path);
  } catch {
    // It only spares a look. Whoever may not write here, or has no room, looks again.
  }
}

function sealPath(generationDir: string): string {
  return join(generationDir, 'seal.json');
}
