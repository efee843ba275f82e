import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Environment, type BytesDatabase } from '../../src/cache/environment.js';
import { preflight } from '../../src/cache/preflight.js';
import { MAX_KEY_BYTES } from '../../src/transform/key-codec.js';
import { Random } from '../support/random.js';
import { TempDirectory } from '../support/temp.js';
import { assertHolds, assertSound, bulkLoad, type Entry } from './bulk-load.js';

/** Makes an environment with these databases, all empty but for `meta`. */
async function makeEmpty(dir: string, names: readonly string[]): Promise<void> {
  const environment = new Environment(dir, { unpublished: true });
  for (const name of names) environment.database(name);
  environment.transaction(() => {
    environment.putSource('somewhere');
  });
  await environment.close();
}

async function withEnvironment(
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
function randomEntries(
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

function randomBytes(random: Random, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = random.int(0, 255);
  return bytes;
}

/** Keys that have all but their end in common. */
function numbered(count: number, keyBytes: number, valueBytes: number): Entry[] {
  return Array.from({ length: count }, (_, i) => {
    const key = Buffer.alloc(keyBytes, 0x20);
    key.writeUInt32BE(i, keyBytes - 4);
    return [key, Buffer.alloc(valueBytes, i)];
  });
}

const random = new Random(7);
const SHAPES: Readonly<Record<string, readonly Entry[]>> = {
  'no record': [],
  'one record': numbered(1, 10, 100),
  'one record without a value': numbered(1, 10, 0),
  'one leaf': numbered(9, 36, 350),
  'two leaves': numbered(12, 36, 350),
  'rows of the usual size': randomEntries(random, 3000, [36, 36], [300, 400]),
  'tiny records': randomEntries(random, 5000, [5, 7], [0, 3]),
  'records of all sizes': randomEntries(random, 600, [1, 200], [0, 3000]),
  'values around the limit of a leaf': Array.from({ length: 60 }, (_, i): Entry => [
    Buffer.from([0x20, i]),
    Buffer.alloc(1990 + i, i),
  ]),
  'values around full overflow pages': Array.from({ length: 120 }, (_, i): Entry => [
    Buffer.from([0x20, i]),
    Buffer.alloc(4096 * (1 + (i % 3)) - 84 + i, i),
  ]),
  'large values': numbered(5, 20, 3_000_000),
  'small records among large ones': numbered(300, 20, 60).map(([key, value], i) => [
    key,
    i % 7 === 0 ? Buffer.alloc(i * 1000, i) : value,
  ]),
  'the longest keys': numbered(400, MAX_KEY_BYTES, 40),
  'long keys that differ early': randomEntries(random, 400, [1800, MAX_KEY_BYTES], [10, 60]),
};

void describe('a bulk load', () => {
  for (const [name, entries] of Object.entries(SHAPES)) {
    void it(`gives what was put: ${name}`, async () => {
      await using dir = await TempDirectory.make();
      await makeEmpty(dir.path, ['r1', 'r2']);
      bulkLoad(dir.path, { r1: entries });
      assertSound(dir.path);
      await withEnvironment(dir.path, (environment) => {
        assertHolds(environment.rows(1), entries);
        assertHolds(environment.rows(2), []);
        assert.equal(environment.source(), 'somewhere');
      });
      preflight(dir.path);
    });
  }

  void it('makes trees of all depths', async () => {
    const depths: number[] = [];
    for (const count of [1, 2, 6, 14, 20, 60]) {
      await using dir = await TempDirectory.make();
      await makeEmpty(dir.path, ['r1']);
      const entries = numbered(count, 1900, 10);
      bulkLoad(dir.path, { r1: entries });
      assertSound(dir.path);
      await withEnvironment(dir.path, (environment) => {
        assertHolds(environment.rows(1), entries);
        const { treeDepth } = environment.rows(1).getStats() as { treeDepth: number };
        depths.push(treeDepth);
      });
    }
    assert.deepEqual(depths, [1, 1, 2, 3, 4, 5]);
  });

  void it('holds what a model holds after any later writes, however often it is opened', async () => {
    await using dir = await TempDirectory.make();
    await makeEmpty(dir.path, ['r1', 'r2', 'i1']);
    const choice = new Random(11);
    const loaded = {
      r1: randomEntries(choice, 2500, [36, 36], [300, 400]),
      i1: randomEntries(choice, 4000, [10, 60], [4, 20]),
      r2: randomEntries(choice, 300, [1, 300], [0, 9000]),
    };
    bulkLoad(dir.path, loaded, { gap: (run) => (run % 3 === 0 ? run : 0) });
    assertSound(dir.path);
    const models = Object.entries(loaded).map(([name, entries]) => ({
      name,
      entries: new Map(entries.map(([key, value]) => [key.toString('latin1'), value])),
    }));
    for (let opening = 0; opening < 6; opening++) {
      await withEnvironment(dir.path, (environment) => {
        for (let commit = 0; commit < 12; commit++) {
          environment.transaction(() => {
            for (const { name, entries } of models) {
              changeRandomly(choice, environment.database(name), entries, opening);
            }
          });
          assertSound(dir.path);
        }
        for (const { name, entries } of models) {
          assertHolds(environment.database(name), sorted(entries));
        }
      });
      preflight(dir.path);
    }
  });
});

function sorted(entries: ReadonlyMap<string, Buffer>): Entry[] {
  return [...entries]
    .map(([key, value]): Entry => [Buffer.from(key, 'latin1'), value])
    .toSorted(([a], [b]) => a.compare(b));
}

/** Puts and removes records; later ones remove more, down to none. */
function changeRandomly(
  choice: Random,
  database: BytesDatabase,
  entries: Map<string, Buffer>,
  opening: number,
): void {
  const keys = [...entries.keys()];
  const start = choice.int(0, Math.max(0, keys.length - 1));
  const removed = Math.round((keys.length * opening) / 20);
  for (let i = 0; i < removed; i++) {
    // Neighbours first, so that whole pages become empty; then any.
    const key = i % 2 === 0 ? keys[(start + i) % keys.length]! : choice.pick(keys);
    if (!entries.delete(key)) continue;
    database.removeSync(Buffer.from(key, 'latin1'));
  }
  for (let i = 0; i < 40; i++) {
    const isNew = choice.chance(0.6) || entries.size === 0;
    const key = isNew
      ? `${String.fromCharCode(0x10 + choice.int(0, 3))}${randomBytes(choice, choice.int(1, 40)).toString('latin1')}`
      : choice.pick(keys);
    const value = randomBytes(choice, choice.chance(0.05) ? 20_000 : choice.int(0, 600));
    entries.set(key, value);
    database.putSync(Buffer.from(key, 'latin1'), value);
  }
}
