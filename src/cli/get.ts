import { openCache } from '../cache/reader.js';
import { ConfigError } from '../errors.js';
import type { CommandContext } from './command-run.js';
import { EXIT_DONE, EXIT_FAILED } from './exit-code.js';
import { formatPlural } from '../format.js';
import { keyCandidates, keysFrom } from './key-argument.js';
import { RowJson } from './row-json.js';
import { cacheSettings, type CacheFlags } from './settings.js';

/** `storage-sync get`: prints one row of the cache. */
export async function get(
  name: string,
  keyArguments: readonly string[],
  flags: CacheFlags,
  { output, secrets }: CommandContext,
): Promise<number> {
  const { cacheDir, validateChecksums = false } = await cacheSettings(flags, secrets);
  const cache = openCache(cacheDir, { validateChecksums });
  try {
    const table = cache.table(name);
    if (keyArguments.length !== table.keyNames.length) {
      throw new ConfigError(
        `The key of ${JSON.stringify(name)} is (${table.keyNames.join(', ')}), but ${formatPlural(keyArguments.length, 'value')} came.`,
        { hint: 'Give one argument for each column of the key.' },
      );
    }
    const candidates = keyArguments.map(keyCandidates);
    for (const key of keysFrom(candidates)) {
      const row = table.get(...key);
      if (row === undefined) continue;
      await output.write(`${new RowJson(table.columns).format(row)}\n`);
      return EXIT_DONE;
    }
    output.say(`${JSON.stringify(name)} has no row with the key ${keyArguments.join(', ')}.`);
    if (output.json) await output.document(null);
    return EXIT_FAILED;
  } finally {
    await cache.close();
  }
}
