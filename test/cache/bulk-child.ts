import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { bulkLoad, LOADED, withEnvironment } from './bulk-load.js';

/** Ends this process before its n-th call that writes or flushes, or in the middle of what that writes. */
function dieAt(n: number, isWithin: boolean): void {
  const { writeSync, fsyncSync, ftruncateSync } = fs;
  let calls = 0;
  const die = () => process.kill(process.pid, 'SIGKILL');
  fs.writeSync = ((fd: number, bytes: Uint8Array, offset: number, length: number, at: number) => {
    if (++calls === n) {
      // The kernel takes a page and a meta page as a whole.
      const pages = Math.floor(length / 8192);
      if (isWithin && pages > 0) writeSync(fd, bytes, offset, 4096 * pages, at);
      die();
    }
    return writeSync(fd, bytes, offset, length, at);
  }) as typeof writeSync;
  fs.fsyncSync = (fd) => {
    if (++calls === n) die();
    fsyncSync(fd);
  };
  fs.ftruncateSync = (fd, length) => {
    if (++calls === n) die();
    ftruncateSync(fd, length);
  };
  syncBuiltinESMExports();
}

function loadAndDie(dir: string, n: number, isWithin: boolean): void {
  dieAt(n, isWithin);
  bulkLoad(dir, LOADED, { runBytes: 250_000 });
}

/** Says what a reader finds in a database, in one line. */
async function digest(dir: string, name: string): Promise<void> {
  const hash = createHash('sha256');
  await withEnvironment(dir, (environment) => {
    for (const { key, value } of environment.database(name).getRange()) {
      hash.update(key).update(value);
    }
  });
  process.stdout.write(hash.digest('hex'));
}

const [mode, dir, argument, within] = process.argv.slice(2);
if (mode === 'load') loadAndDie(dir!, Number(argument), within === 'within');
if (mode === 'digest') await digest(dir!, argument!);
