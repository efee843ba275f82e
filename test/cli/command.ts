import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The built command, as the package's `bin` names it. */
export const COMMAND = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly uid?: number;
  /** A file to send stdout to. */
  readonly stdout?: string;
}

/** The command as a real process, still running. */
export class RunningCommand {
  readonly process: ChildProcess;
  readonly ended: Promise<Ran>;
  #stdout = '';
  #stderr = '';

  constructor(args: readonly string[], { env, cwd, uid, stdout }: RunOptions = {}) {
    const sink = stdout === undefined ? 'pipe' : openSync(stdout, 'w');
    this.process = spawn(process.execPath, [COMMAND, ...args], {
      cwd,
      ...(uid === undefined ? {} : { uid, gid: uid }),
      env: { ...environment(), ...env },
      stdio: ['ignore', sink, 'pipe'],
    });
    if (typeof sink === 'number') closeSync(sink);
    this.process.stdout?.setEncoding('utf8').on('data', (text: string) => (this.#stdout += text));
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
    this.ended = new Promise((resolve, reject) => {
      this.process.on('error', reject);
      this.process.on('close', (code) =>
        resolve({ code, stdout: this.#stdout, stderr: this.#stderr }),
      );
    });
  }
}

/** Runs the command to its end. */
export function run(args: readonly string[], options?: RunOptions): Promise<Ran> {
  return new RunningCommand(args, options).ended;
}

const LEFT_OUT = new Set([
  'DEBUG',
  'STORAGE_SYNC_DEBUG',
  'TURSO_DATABASE_URL',
  'TURSO_AUTH_TOKEN',
  'NODE_OPTIONS',
]);

/** This process's environment, without what would change the command's behaviour. */
export function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !LEFT_OUT.has(name)));
}
