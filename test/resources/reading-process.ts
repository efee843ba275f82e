import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

const CHILD = fileURLToPath(new URL('./reading-child.js', import.meta.url));

/** Another process that holds a snapshot of a cache: see `reading-child.ts`. */
export class ReadingProcess implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;

  private constructor(child: ChildProcessByStdio<Writable, Readable, null>) {
    this.#child = child;
  }

  static async start(cacheDir: string): Promise<ReadingProcess> {
    const child = spawn(process.execPath, [CHILD, cacheDir], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    child.stdout.setEncoding('utf8');
    const reading = new ReadingProcess(child);
    await reading.#line();
    return reading;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** What its snapshot shows of the whole table now. */
  async look(): Promise<string> {
    this.#child.stdin.write('look\n');
    return await this.#line();
  }

  /** Ends it as a crash of it would. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'close');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  async #line(): Promise<string> {
    const [line] = (await once(this.#child.stdout, 'data')) as [string];
    return line.trim();
  }
}
