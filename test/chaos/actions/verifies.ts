import { REPAIRING } from '../../support/kill/points.js';
import { tamper, type TamperedTable } from '../../verify/tamper.js';
import type { Random } from '../../support/random.js';
import type { Action } from '../action.js';
import type { History } from '../history.js';
import { describeEnd, describeVerify, type VerifyOrder } from '../sync-order.js';
import { quietOrder } from './orders.js';

const LONGEST_VERIFY_MS = 300;

function quietVerify(random: Random, repair: boolean): VerifyOrder {
  return { level: 'deep', repair, upset: null, readerThreads: random.int(1, 2) };
}

async function verifyAndTell(history: History, order: VerifyOrder): Promise<string> {
  return describeVerify(order, await history.verify(order));
}

/** A verify of any kind, which may be aborted, and killed where it is a process. */
function anyVerify(history: History, random: Random): VerifyOrder {
  const level = random.pick(['quick', 'sample', 'deep'] as const);
  const repair = random.chance(0.5);
  const ms = random.int(0, LONGEST_VERIFY_MS);
  const upsets: readonly VerifyOrder['upset'][] = history.isFast
    ? [null, { kind: 'abort after', ms: Math.floor(ms / 20) }]
    : [null, { kind: 'abort after', ms }, { kind: 'kill after', ms }, killAtRepair(random)];
  return { ...quietVerify(random, repair), level, upset: random.pick(upsets) };
}

function killAtRepair(random: Random): VerifyOrder['upset'] {
  const point = random.pick(REPAIRING);
  return { kind: 'kill at', point, occurrence: random.int(1, point.endsWith('-put') ? 9 : 2) };
}

const verify: Action = {
  name: 'verify',
  weight: 3,
  run: async (history, random) => {
    if (!history.isPublished) return 'there is nothing yet';
    return await verifyAndTell(history, anyVerify(history, random));
  },
};

/** Spoils records and index entries past the product. */
async function spoilRecords(history: History, random: Random): Promise<string> {
  const names = (history.mode.tables ?? []).map(({ name }) => name);
  const tables = names.length > 0 ? names : ['rowid', 'texts', 'without', 'blobs'];
  const done: string[] = [];
  const wanted = random.int(1, 3);
  for (const name of random.shuffled(tables)) {
    const what = await tamper(history.cacheDir, name, (table) => spoilOne(table, random));
    if (what !== null) done.push(`${name}: ${what}`);
    if (done.length === wanted) break;
  }
  return done.join(', ');
}

function spoilOne(table: TamperedTable, random: Random): string | null {
  const rows = table.keys.length;
  if (rows === 0) return null;
  const at = random.int(0, rows - 1);
  switch (random.int(0, table.entries > 0 ? 4 : 2)) {
    case 0:
      return `flipped ${table.flip(at, random.int(0, 99)).key}`;
    case 1:
      return `cut ${table.cut(at, random.int(1, 20)).key}`;
    case 2:
      return `removed ${table.remove(at).key}`;
    case 3:
      table.removeEntries(random.int(1, table.entries));
      return 'removed entries';
    default:
      table.addEntry();
      return 'added an entry';
  }
}

/** Records are damaged; a deep verify finds and repairs them, also when it is killed again and again. */
const repair: Action = {
  name: 'damage to records, and kills of repairs',
  weight: 4,
  run: async (history, random) => {
    const told: string[] = [];
    const quiet = { ...quietOrder(random), sweep: true };
    if (!history.isSettled) {
      told.push(await history.settle(quietOrder(random), false));
    }
    const upsetRepairs = async (): Promise<string[]> => {
      const ends: string[] = [];
      if (random.chance(0.3)) {
        const look = {
          ...quietVerify(random, false),
          level: random.pick(['quick', 'sample'] as const),
        };
        ends.push(await verifyAndTell(history, look));
      }
      while (random.chance(0.7)) {
        const upset = random.chance(0.7)
          ? killAtRepair(random)
          : ({ kind: 'kill after', ms: random.int(0, LONGEST_VERIFY_MS) } as const);
        ends.push(await verifyAndTell(history, { ...quietVerify(random, true), upset }));
      }
      return ends;
    };
    const mend = async (): Promise<string> => {
      const order = quietVerify(random, true);
      let ends = '';
      // One that goes on from a verify that was interrupted does not look at what that had seen.
      for (;;) {
        const end = await history.verify(order);
        ends += describeVerify(order, end);
        if (end.kind !== 'verified') throw new Error(ends);
        if (!end.report.resumed) break;
      }
      const end = await history.sync(quiet);
      if (end.kind !== 'completed') throw new Error(`${ends}; ${describeEnd(end)}`);
      return `${ends}; ${describeEnd(end)}`;
    };
    const spoilAll = async () => await spoilRecords(history, random);
    told.push(await history.damage(spoilAll, upsetRepairs, mend, quiet));
    return told.join('; ');
  },
};

export const VERIFIES: readonly Action[] = [verify];

/** Verifies in processes of their own. */
export const REPAIRS: readonly Action[] = [repair];
