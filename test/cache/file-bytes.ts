import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { readManifest } from '../../src/cache/manifest.js';

/** The data file of the generation that a cache serves. */
export function servedFile(cacheDir: string): string {
  const live = readManifest(cacheDir)?.live;
  assert.ok(live, 'the cache serves a generation');
  return join(cacheDir, 'generations', String(live), 'data.mdb');
}

/** Flips a bit of one byte behind each place in the served file where `text` is: also in pages that are free. */
export function flipBits(cacheDir: string, text: Buffer, offset: number, bit = 0x08): void {
  const path = servedFile(cacheDir);
  const bytes = readFileSync(path);
  const fd = openSync(path, 'r+');
  let found = 0;
  for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) {
    writeSync(fd, Buffer.of(bytes[at + offset]! ^ bit), 0, 1, at + offset);
    found++;
  }
  closeSync(fd);
  assert.ok(found > 0, `the file has ${text.toString('latin1')}`);
}

/** What a stored row of short TEXT columns begins with, after the key of one column. */
function rowBytes(key: string, columns: number, value: string): Buffer {
  const texts = [key, value].flatMap((text) => [Buffer.of(0xa0 | text.length), Buffer.from(text)]);
  return Buffer.concat([Buffer.from(key), Buffer.of(0x90 | columns), ...texts]);
}

/** Flips a bit in the value of a record. */
export function flipValue(cacheDir: string, key: string, columns: number, value: string): void {
  const row = rowBytes(key, columns, value);
  flipBits(cacheDir, row, row.length - 3);
}

/** Flips a bit in the `at`-th character of the key that a record stands under. */
export function flipKey(
  cacheDir: string,
  key: string,
  columns: number,
  value: string,
  at: number,
): void {
  flipBits(cacheDir, rowBytes(key, columns, value), at);
}
