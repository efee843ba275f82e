import assert from 'node:assert/strict';
import { closeSync, fstatSync, openSync } from 'node:fs';
import { BulkTree } from '../../src/cache/bulk/bulk-tree.js';
import {
  BulkFile,
  openBulk,
  PageCounter,
  type BulkTarget,
  type PlacedRun,
} from '../../src/cache/bulk/bulk-file.js';
import { readState } from '../../src/cache/bulk/data-file.js';
import { finishBulk } from '../../src/cache/bulk/finish-bulk.js';
import { joinRuns } from '../../src/cache/bulk/join-runs.js';
import { LeafRunBuilder, type LeafRun } from '../../src/cache/bulk/leaf-run.js';
import { Environment, type BytesDatabase } from '../../src/cache/environment.js';
import { dataPath } from '../../src/cache/layout.js';
import { findDamage } from '../../src/cache/lmdb-check.js';
import type { Meta } from '../../src/cache/lmdb-format.js';
import type { Random } from '../support/random.js';

export type Entry = readonly [key: Buffer, value: Buffer];

/** Makes an environment with these databases, all empty but for `meta`. */
export async function makeEmpty(dir: string, names: readonly string[]): Promise<void> {
  const environment = new Environment(dir, { unpublished: true });
  for (const name of names) environment.database(name);
  environment.transaction(() => {
    environment.putSource('somewhere');
  });
  await environment.close();
}

export async function withEnvironment(
  dir: string,
  use: (environment: Environment) => void | Promise<void>,
): Promise<void> {
  const environment = new Environment(dir, { unpublished: true });
  try {
    await use(environment);
  } finally {
    await environment.close();
  }
}

/** Records in ascending order of their keys, all of which differ. */
export function randomEntries(
  random: Random,
  count: number,
  keyBytes: readonly [number, number],
  valueBytes: readonly [number, number],
): Entry[] {
  const keys = new Map<string, Buffer>();
  while (keys.size < count) {
    const key = randomBytes(random, random.int(...keyBytes));
    key[0] = 0x10 + (key[0]! & 3);
    keys.set(key.toString('latin1'), key);
  }
  return [...keys.values()]
    .toSorted((a, b) => a.compare(b))
    .map((key) => [key, randomBytes(random, random.int(...valueBytes))]);
}

export function randomBytes(random: Random, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = random.int(0, 255);
  return bytes;
}

/** Keys that have all but their end in common. */
export function numbered(count: number, keyBytes: number, valueBytes: number): Entry[] {
  return Array.from({ length: count }, (_, i) => {
    const key = Buffer.alloc(keyBytes, 0x20);
    key.writeUInt32BE(i, keyBytes - 4);
    return [key, Buffer.alloc(valueBytes, i)];
  });
}

/** What the child process loads. */
export const LOADED = { r1: numbered(1000, 36, 350), i1: numbered(120, 1500, 20) };

/** Packs records into runs of about so many bytes each. */
export function packRuns(
  entries: readonly Entry[],
  pageSize: number,
  runBytes: number,
  builder = new LeafRunBuilder(pageSize),
): LeafRun[] {
  const runs: LeafRun[] = [];
  for (const [key, value] of entries) {
    builder.add(Buffer.concat([key, value]), 0, key.length, key.length + value.length);
    if (builder.bytes >= runBytes) runs.push(builder.finish());
  }
  if (builder.entries > 0) runs.push(builder.finish());
  return runs;
}

/** A tree of runs. */
export function treeOf(
  name: string,
  generationDir: string,
  target: BulkTarget,
  counter: PageCounter,
  runs: readonly PlacedRun[],
): BulkTree {
  const tree = new BulkTree(name, generationDir, target, (pages) => counter.take(pages));
  tree.add(runs);
  return tree;
}

/** Loads the records of databases, which come in ascending order. The runs lie in the file in the order that is asked. */
export function bulkLoad(
  generationDir: string,
  tables: Readonly<Record<string, readonly Entry[]>>,
  {
    runBytes = 64 * 1024,
    gap = () => 0,
    together = 1,
  }: { runBytes?: number; gap?: (run: number) => number; together?: number } = {},
): void {
  const target = openBulk(generationDir, Object.keys(tables));
  const counter = new PageCounter(target.nextPage);
  const file = new BulkFile(generationDir, target);
  let written = 0;
  const loaded = Object.entries(tables).map(([name, entries]) => {
    const runs = packRuns(entries, target.pageSize, runBytes);
    const placed: PlacedRun[] = [];
    // The last one first: the order of runs in the file is any.
    for (const run of runs.toReversed()) {
      counter.take(gap(written++));
      placed.unshift(file.write(run, counter.take(run.pageCount)));
    }
    const told: PlacedRun[] = [];
    for (let i = 0; i < placed.length; i += together) {
      const some = placed.slice(i, i + together);
      told.push(...(together > 1 ? [joinRuns(some)] : some));
    }
    return treeOf(name, generationDir, target, counter, told);
  });
  counter.take(gap(written));
  file.close();
  finishBulk(generationDir, target, loaded, () => counter.next);
}

/** The newest state of a data file, and how many bytes it has. */
export function fileState(generationDir: string): Meta & { readonly size: number } {
  return withData(generationDir, (fd, meta) => ({ ...meta, size: fstatSync(fd).size }));
}

export function assertSound(generationDir: string): void {
  assert.equal(withData(generationDir, findDamage), null);
}

function withData<T>(generationDir: string, use: (fd: number, meta: Meta) => T): T {
  const path = dataPath(generationDir);
  const fd = openSync(path, 'r');
  try {
    return use(fd, readState(fd, path).meta);
  } finally {
    closeSync(fd);
  }
}

/** Reads a database in all ways, and holds it against what it must have. */
export function assertHolds(database: BytesDatabase, entries: readonly Entry[]): void {
  const ranged = Array.from(database.getRange(), ({ key, value }) => [key, value] as const);
  assert.equal(ranged.length, entries.length);
  for (const [i, [key, value]] of entries.entries()) {
    assert.ok(key.equals(ranged[i]![0]) && value.equals(ranged[i]![1]), `entry ${i} of the range`);
    assert.ok(database.get(key)?.equals(value), `entry ${i} by its key`);
  }
  const reversed = Array.from(database.getKeys({ reverse: true }));
  assert.ok(Buffer.concat(reversed.reverse()).equals(Buffer.concat(entries.map(([key]) => key))));
  const { entryCount } = database.getStats() as { entryCount: number };
  assert.equal(entryCount, entries.length);
}
