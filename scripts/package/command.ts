import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The directory of the repository. */
export const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** Runs a program to its end, with its errors on this process's, and gives what it printed. */
export function run(program: string, args: readonly string[], cwd = ROOT): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  if (status !== 0) {
    const command = [program, ...args].join(' ');
    throw new Error(`${command} ended with ${status ?? error?.message}:\n${stdout}${stderr}`);
  }
  return stdout;
}

/** Runs a tool of the repository's own packages by this Node.js. */
export function runTool(path: string, args: readonly string[], cwd = ROOT): string {
  return run(process.execPath, [`${ROOT}node_modules/${path}`, ...args], cwd);
}
