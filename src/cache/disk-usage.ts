import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** Bytes of a block, as `stat` counts them (POSIX `st_blocks`, as Linux and macOS have it). */
const BLOCK_BYTES = 512;

/** Bytes that a directory takes on the disk, with all in it. What goes away meanwhile counts as nothing. */
export async function diskUsage(dir: string): Promise<number> {
  const entries = await readdir(dir, { recursive: true }).catch(() => []);
  const sizes = await Promise.all(
    entries.map(async (entry) => {
      const found = await stat(join(dir, entry)).catch(() => null);
      return found?.isFile() ? found.blocks * BLOCK_BYTES : 0;
    }),
  );
  return sizes.reduce((total, each) => total + each, 0);
}
