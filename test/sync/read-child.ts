import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { openCache, StorageSync, StorageSyncError } from '../../src/index.js';

/** What became of a process that read a cache. */
export interface ReadOutcome {
  readonly exit: string;
  readonly told: Readonly<Record<string, string>>;
  readonly stderr: string;
}

/** Reads the table `t` in a process of its own, in every way that there is; with a URL, then syncs from there. */
export async function readInChild(cacheDir: string, url = ''): Promise<ReadOutcome> {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), cacheDir, url], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const exit = await new Promise<string>((resolve) => {
    child.on('close', (code, signal) => resolve(signal ?? String(code)));
  });
  return { exit, stderr, told: stdout === '' ? {} : (JSON.parse(stdout) as ReadOutcome['told']) };
}

/** A row of `t` that is not as it was made. */
function isWrong(row: Readonly<Record<string, unknown>>): boolean {
  return row['v'] !== String(row['k']).replace('key', 'value');
}

async function main(cacheDir: string, url: string): Promise<void> {
  let told: Record<string, string> = {};
  const attempt = async (what: string, read: () => void | Promise<void>): Promise<void> => {
    try {
      await read();
    } catch (error) {
      const code = error instanceof StorageSyncError ? error.code : `raw ${String(error)}`;
      told = { ...told, [what]: code, code };
    }
  };
  await attempt('open', async () => {
    await using cache = openCache(cacheDir, { validateChecksums: true });
    const table = cache.table('t');
    await attempt('get', () => {
      for (let i = 1; i <= 3000; i++) {
        const row = table.get(`key ${i}`);
        if (row && isWrong(row)) told = { ...told, wrong: JSON.stringify(row) };
      }
    });
    await attempt('stream', async () => {
      let rows = 0;
      for await (const row of table.stream()) {
        if (isWrong(row)) told = { ...told, wrong: JSON.stringify(row) };
        rows++;
      }
      if (rows !== 3000) told = { ...told, wrong: `${rows} rows` };
    });
  });
  if (url !== '') {
    // What the sync fails with stands under its own name.
    const { code = '' } = told;
    await attempt('sync', async () => {
      await using storage = await StorageSync.open({ source: { url }, cacheDir, readerThreads: 1 });
      await storage.sync();
    });
    told = { ...told, code };
  }
  process.stdout.write(JSON.stringify(told));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(process.argv[2]!, process.argv[3]!);
}
