import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { changeDatabase } from '../support/databases.js';
import { environment } from '../cli/command.js';
import { ROOT } from './pages.js';

const APP = `
  CREATE TABLE users (
    id INTEGER PRIMARY KEY, email TEXT NOT NULL, nickname TEXT, updated_at TEXT NOT NULL, deleted_at TEXT);
  CREATE INDEX users_by_update ON users (updated_at, id);
  WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 500)
  INSERT INTO users SELECT id, 'User' || id || '@example.org', iif(id % 3, NULL, 'nick' || id), '2025-01-01 10:00', NULL FROM n;
  CREATE TABLE orders (
    region TEXT NOT NULL, number INTEGER NOT NULL, customer INTEGER NOT NULL, placed_at INTEGER NOT NULL,
    PRIMARY KEY (region, number));
  WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 300)
  INSERT INTO orders SELECT iif(id % 2, 'eu', 'us'), id, id % 50, id * 1000 FROM n;
`;

/** What does not end by itself, such as a watch, is no code to run here: it is ended, and so fails. */
const LONGEST_RUN_MS = 120_000;

/** Makes a project that has the built package and a database `app.db`, as one who reads the guides may have. */
export function makeProject(directory: string): void {
  // Links to packages and not to directories of them: nothing done here may reach the repository's own.
  mkdirSync(join(directory, 'node_modules/@types'), { recursive: true });
  symlinkSync(ROOT, join(directory, 'node_modules/storage-sync'));
  symlinkSync(join(ROOT, 'node_modules/@types/node'), join(directory, 'node_modules/@types/node'));
  symlinkSync(join(ROOT, 'node_modules/zod'), join(directory, 'node_modules/zod'));
  writeFileSync(join(directory, 'package.json'), '{ "type": "module" }');
  const bin = join(directory, 'bin');
  mkdirSync(bin);
  const command = `exec '${process.execPath}' '${join(ROOT, 'dist/src/cli/main.js')}' "$@"`;
  script(join(bin, 'storage-sync'), command);
  // That npx finds the command of an installed package is tried with the packed package.
  script(join(bin, 'npx'), 'exec "$@"');
  script(join(bin, 'npm'), 'echo "what installs packages cannot be run here" >&2; exit 1');
  changeDatabase(join(directory, 'app.db'), APP);
}

function script(path: string, line: string): void {
  writeFileSync(path, `#!/bin/sh\n${line}\n`);
  chmodSync(path, 0o755);
}

/** Runs a program in a project, and gives what it said when it fails. */
export async function runIn(
  directory: string,
  program: string,
  args: readonly string[],
): Promise<string | null> {
  const PATH = `${join(directory, 'bin')}:${process.env['PATH'] ?? ''}`;
  const child = spawn(program, args, {
    cwd: directory,
    env: { ...environment(), PATH },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: LONGEST_RUN_MS,
  });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const ended = await new Promise<number | string | null>((resolve, reject) => {
    child.on('error', reject).on('close', (code, signal) => resolve(code ?? signal));
  });
  return ended === 0 ? null : `${program} ended with ${ended}:\n${said}`;
}
