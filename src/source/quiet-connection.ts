import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import type { SourceConnection } from './connection.js';
import { filePathOf, refuseMissing } from './file-url.js';
import { connect, type ConnectionConfig } from './open-source.js';

/**
 * Connects to a source so that nothing is left behind there. SQLite makes `-wal` and `-shm` beside a file in WAL mode that
 * nobody has open, even for who only reads it: such a file is read as one that does not change.
 *
 * @throws as {@link connect} does.
 */
export async function connectQuietly(config: ConnectionConfig): Promise<SourceConnection> {
  if (!/^file:/i.test(config.url)) return await connect(config);
  const path = filePathOf(config.url);
  refuseMissing(path);
  const { NativeConnection } = await import('./native-connection.js');
  return new NativeConnection(config.url, { isStill: usesWal(path) && !existsSync(`${path}-wal`) });
}

/** By the read version in the header (https://www.sqlite.org/fileformat2.html#file_format_version_numbers). */
function usesWal(path: string): boolean {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch {
    // Whoever opens it as a database says why it cannot be.
    return false;
  }
  try {
    const header = Buffer.alloc(20);
    return readSync(file, header, 0, header.length, 0) === header.length && header[19] === 2;
  } finally {
    closeSync(file);
  }
}
