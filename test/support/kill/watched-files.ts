import fs, { type PathLike } from 'node:fs';
import promises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { basename, dirname } from 'node:path';
import { reach } from './fault.js';

/** Puts points into the steps by which this thread's file functions begin and publish a generation. */
export function watchPublishing(): void {
  const { open, rename, rm } = promises;
  promises.open = async (...args) => {
    const file = await open(...args);
    if (/^manifest\.json\..*tmp$/.test(nameOf(args[0]))) reach('manifest:opened');
    return file;
  };
  promises.rename = async (from, to) => {
    if (nameOf(to) !== 'manifest.json') return await rename(from, to);
    const manifest = JSON.parse(fs.readFileSync(from, 'utf8')) as { building: unknown };
    const step = manifest.building === null ? 'publish' : 'begin';
    reach(`${step}:written`);
    await rename(from, to);
    reach(`${step}:renamed`);
  };
  promises.rm = async (path, options) => {
    const isGeneration = basename(dirname(textOf(path))) === 'generations';
    if (isGeneration) reach('generation:before-remove');
    await rm(path, options);
    if (isGeneration) reach('generation:removed');
  };
  syncBuiltinESMExports();
}

/** Puts points into the steps by which this thread's file functions make a generation and force it to disk. */
export function watchGenerationFiles(): void {
  const { fsyncSync, mkdirSync } = fs;
  fs.mkdirSync = ((...args: Parameters<typeof mkdirSync>) => {
    const made = mkdirSync(...args);
    reach('generation:directory-made');
    return made;
  }) as typeof mkdirSync;
  fs.fsyncSync = (fd) => {
    reach('close:before-flush');
    fsyncSync(fd);
    reach('close:flushed');
  };
  syncBuiltinESMExports();
}

function nameOf(path: PathLike): string {
  return basename(textOf(path));
}

function textOf(path: PathLike): string {
  return path instanceof URL ? path.pathname : path.toString();
}
