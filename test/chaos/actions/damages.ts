import { closeSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { basename, join } from 'node:path';
import {
  dataPath,
  generationPath,
  lockPath,
  manifestBackupPath,
  manifestPath,
  statePath,
  verifyStatePath,
} from '../../../src/cache/layout.js';
import { readManifest } from '../../../src/cache/manifest.js';
import type { Random } from '../../support/random.js';
import type { Action } from '../action.js';
import type { History } from '../history.js';
import { describeEnd, describeOrder } from '../sync-order.js';
import { anyOrder, quietOrder } from './orders.js';
import { killed } from './syncs.js';

const PAGE_BYTES = 4096;

/** Spoils some pages of a file, each in one of several ways. */
function spoilPages(path: string, random: Random): string {
  const content = readFileSync(path);
  const pages = Math.ceil(content.length / PAGE_BYTES);
  if (pages === 0) return 'nothing';
  const fd = openSync(path, 'r+');
  const done: string[] = [];
  for (let count = random.int(1, 4); count > 0; count--) {
    const at = random.int(0, pages - 1) * PAGE_BYTES;
    const within = at + random.int(0, PAGE_BYTES - 1);
    switch (random.int(0, 4)) {
      case 0:
        writeSync(fd, Buffer.alloc(PAGE_BYTES), 0, PAGE_BYTES, at);
        done.push(`zeros at ${at}`);
        break;
      case 1:
        writeSync(fd, noise(random, PAGE_BYTES), 0, PAGE_BYTES, at);
        done.push(`garbage at ${at}`);
        break;
      case 2: {
        const from = random.int(0, pages - 1) * PAGE_BYTES;
        const page = content.subarray(from, from + PAGE_BYTES);
        writeSync(fd, page, 0, page.length, at);
        done.push(`the page at ${from} at ${at}`);
        break;
      }
      case 3:
        // Within the header and the first nodes.
        writeSync(fd, noise(random, 2), 0, 2, at + random.int(0, 63));
        done.push(`a header at ${at}`);
        break;
      default: {
        const byte = (content[within] ?? 0) ^ (1 << random.int(0, 7));
        writeSync(fd, Buffer.of(byte), 0, 1, within);
        done.push(`a bit at ${within}`);
      }
    }
  }
  closeSync(fd);
  return done.join(' and ');
}

/** Puts something else in the place of a small file. */
function spoilFile(path: string, random: Random, isBitEnough = true): string {
  const old = read(path);
  const flipped = Buffer.from(old);
  if (old.length > 0) {
    const at = random.int(0, old.length - 1);
    flipped[at] = flipped[at]! ^ (1 << random.int(0, 7));
  }
  const kinds: readonly (readonly [string, Buffer | null])[] = [
    ['removed', null],
    ['emptied', Buffer.alloc(0)],
    ['cut', old.subarray(0, random.int(0, Math.max(0, old.length - 1)))],
    ['zeroed', Buffer.alloc(old.length)],
    ['garbage', noise(random, random.int(1, 300))],
    ...(isBitEnough ? ([['a bit flipped', flipped]] as const) : []),
    ['null', Buffer.from('null')],
    ['a number', Buffer.from('5')],
    ['a list', Buffer.from('[]')],
    ['an object', Buffer.from('{}')],
    ['text', Buffer.from('"text"')],
  ];
  const [kind, content] = random.pick(kinds);
  if (content === null) rmSync(path, { force: true });
  else writeFileSync(path, content);
  return `${basename(path)} ${kind}`;
}

function spoilData(path: string, random: Random): string {
  const old = read(path);
  switch (random.int(0, 9)) {
    case 0:
      writeFileSync(path, old.subarray(0, random.int(0, old.length)));
      return `${basename(path)} cut`;
    case 1:
      writeFileSync(path, '');
      return `${basename(path)} emptied`;
    case 2:
      rmSync(path, { force: true });
      return `${basename(path)} removed`;
    case 3:
      writeFileSync(path, Buffer.concat([Buffer.from('SQLite format 3\0'), noise(random, 9000)]));
      return `${basename(path)} of another type`;
    default:
      return spoilPages(path, random);
  }
}

function spoil({ cacheDir }: History, random: Random): string {
  const live = generationPath(cacheDir, readManifest(cacheDir)!.live!);
  const small = [
    join(live, 'seal.json'),
    join(live, 'lock.mdb'),
    join(live, 'commit.lock'),
    statePath(cacheDir),
    verifyStatePath(cacheDir),
    lockPath(cacheDir),
  ];
  // Where both are lost, a flipped bit can make the one seem to be of a newer version, which is to be refused.
  const manifests = [manifestPath(cacheDir), manifestBackupPath(cacheDir)];
  const done: string[] = [];
  switch (random.int(0, 8)) {
    case 0:
      return manifests.map((path) => spoilFile(path, random, false)).join(', ');
    case 1:
    case 2:
      done.push(spoilFile(random.pick(manifests), random));
  }
  if (random.chance(0.55)) done.push(spoilData(dataPath(live), random));
  else done.push(spoilFile(random.pick(small), random));
  while (random.chance(0.3)) done.push(spoilFile(random.pick(small), random));
  return done.join(', ');
}

/** Files of the cache are damaged, and the next sync mends them. */
const damage: Action = {
  name: 'damage to files',
  weight: 4,
  run: async (history, random) => {
    const told: string[] = [];
    const quiet = { ...quietOrder(random), sweep: true };
    if (!history.isSettled) {
      told.push(await history.settle(quietOrder(random), false));
    }
    const upsetSyncs = async (): Promise<string[]> => {
      const ends: string[] = [];
      while (random.chance(0.25)) {
        const order = anyOrder(history, random);
        const upset = killed(history, random, order);
        const end = await history.sync({ ...order, upset }, { mayFail: ['LOSS_SUSPECTED'] });
        ends.push(`${describeOrder({ ...order, upset })}: ${describeEnd(end)}`);
      }
      return ends;
    };
    const mend = async (): Promise<string> => {
      const end = await history.sync(quiet);
      if (end.kind !== 'completed') throw new Error(`not mended: ${describeEnd(end)}`);
      return `mended by ${describeEnd(end)}`;
    };
    const done = await history.damage(() => spoil(history, random), upsetSyncs, mend, quiet);
    return [...told, done].join('; ');
  },
};

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch {
    return Buffer.alloc(0);
  }
}

function noise(random: Random, bytes: number): Buffer {
  return Buffer.from(Array.from({ length: bytes }, () => random.int(0, 255)));
}

export const DAMAGES: readonly Action[] = [damage];
