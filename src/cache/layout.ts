import { join } from 'node:path';

/**
 * What lies where in a cache directory:
 *
 * ```
 * manifest.json        which generation is served, and which is being built; manifest.backup.json is a copy
 * state.json           the last failure, and how many rows each table had
 * verify.json          how far an interrupted deep verify has come
 * damage.jsonl         damage that reads have met and no sync has repaired yet
 * lock                 held by the one process that may write
 * generations/1/       an LMDB environment: data.mdb, lock.mdb; and commit.lock, seal.json; spool while it is built
 * ```
 */
export function manifestPath(cacheDir: string): string {
  return join(cacheDir, 'manifest.json');
}

export function manifestBackupPath(cacheDir: string): string {
  return join(cacheDir, 'manifest.backup.json');
}

export function statePath(cacheDir: string): string {
  return join(cacheDir, 'state.json');
}

export function verifyStatePath(cacheDir: string): string {
  return join(cacheDir, 'verify.json');
}

export function damagePath(cacheDir: string): string {
  return join(cacheDir, 'damage.jsonl');
}

export function lockPath(cacheDir: string): string {
  return join(cacheDir, 'lock');
}

export function generationPath(cacheDir: string, generation: number): string {
  return join(cacheDir, 'generations', String(generation));
}

export function dataPath(generationDir: string): string {
  return join(generationDir, 'data.mdb');
}

export function spoolPath(generationDir: string): string {
  return join(generationDir, 'spool');
}
