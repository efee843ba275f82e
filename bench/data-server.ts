import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export interface DataServerSpec {
  readonly path: string;
  readonly latencyMs: number;
  /** Of each answer, or null for as many as there are. */
  readonly bytesPerSecond: number | null;
}

/** A Hrana server over a data file, in a process of its own. */
export interface DataServer extends AsyncDisposable {
  readonly url: string;
}

export async function startDataServer(spec: DataServerSpec): Promise<DataServer> {
  const script = fileURLToPath(new URL('./serve-data.js', import.meta.url));
  const child = spawn(process.execPath, [script, JSON.stringify(spec)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const closed = once(child, 'close');
  const url = await new Promise<string>((resolve, reject) => {
    createInterface(child.stdout).once('line', (line) =>
      resolve((JSON.parse(line) as { url: string }).url),
    );
    child.once('error', reject);
    child.once('close', () => reject(new Error('The Hrana server did not start.')));
  });
  return {
    url,
    [Symbol.asyncDispose]: async () => {
      // The server ends when its standard input does, so that it cannot outlive the bench.
      child.stdin.end();
      await closed;
    },
  };
}
