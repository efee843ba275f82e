import { openCache } from '../cache/reader.js';
import type { CommandContext } from './command-run.js';
import { EXIT_DONE } from './exit-code.js';
import { RowJson } from './row-json.js';
import { cacheSettings, type CacheFlags } from './settings.js';

/** Rows are written this many characters at a time. */
const CHUNK_LENGTH = 64 * 1024;

/** `storage-sync export`: streams a table to stdout, no faster than it is taken. */
export async function exportTable(
  name: string,
  flags: CacheFlags,
  { output, secrets }: CommandContext,
): Promise<number> {
  const { cacheDir, validateChecksums = false } = await cacheSettings(flags, secrets);
  const cache = openCache(cacheDir, { validateChecksums });
  try {
    const table = cache.table(name);
    const json = new RowJson(table.columns);
    const [open, separator, close] = output.json ? ['[\n', ',\n', '\n]\n'] : ['', '\n', '\n'];
    let pending = open;
    let before = '';
    for await (const row of table.stream()) {
      pending += before + json.format(row);
      before = separator;
      if (pending.length < CHUNK_LENGTH) continue;
      await output.write(pending);
      pending = '';
    }
    // An empty table is no lines, not an empty one.
    if (output.json || before !== '') await output.write(pending + close);
    return EXIT_DONE;
  } finally {
    await cache.close();
  }
}
