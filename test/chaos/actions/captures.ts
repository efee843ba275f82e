import { CaptureError, SourceError } from '../../../src/index.js';
import type { Random } from '../../support/random.js';
import type { Action } from '../action.js';
import type { History } from '../history.js';
import { describeEnd, describeOrder } from '../sync-order.js';
import { killLogChange } from '../log-change.js';
import { anyOrder } from './orders.js';

const CHANGES = [
  'install',
  'uninstall',
  'uninstall some',
  'compact',
  'compact all',
  'forget',
] as const;
type CaptureChange = (typeof CHANGES)[number];

const chooses = ({ mode }: History) => mode.captured && !mode.together;

async function change(history: History, random: Random, kind: CaptureChange): Promise<void> {
  history.journal.count('captureChanges');
  await history.withLog(async (log) => {
    switch (kind) {
      case 'install':
        return await log.install();
      case 'uninstall':
        return await log.uninstall();
      case 'uninstall some': {
        const { tables } = await log.status();
        return await log.uninstall(
          tables.map(({ table }) => table).filter(() => random.chance(0.3)),
        );
      }
      case 'compact':
        return await log.compact({ chunkRows: random.int(1, 50) });
      case 'compact all':
        return await log.compact({ all: true, chunkRows: random.int(1, 50) });
      case 'forget':
        return await log.compact({ all: true, forgetReadersAfterMs: 0 });
    }
  });
}

/** Between syncs. */
const changeLog: Action = {
  name: 'change the log',
  weight: 3,
  applies: chooses,
  run: async (history, random) => {
    const kinds = [random.pick(CHANGES), ...(random.chance(0.7) ? (['install'] as const) : [])];
    for (const kind of kinds) await change(history, random, kind);
    return kinds.join(', ');
  },
};

/** While a sync reads it, and others write. */
const changeLogInSync: Action = {
  name: 'change the log in a sync',
  weight: 3,
  applies: chooses,
  run: async (history, random) => {
    const order = anyOrder(history, random);
    const kinds = Array.from({ length: random.int(1, 4) }, () => random.pick(CHANGES));
    const pauses = kinds.map(() => random.int(0, 120));
    let isOver = false;
    const syncing = history
      .sync(order, { moving: true, mayFail: ['SOURCE_SQL'] })
      .finally(() => (isOver = true));
    syncing.catch(() => undefined);
    const done: string[] = [];
    for (const [i, kind] of kinds.entries()) {
      await new Promise((resolve) => setTimeout(resolve, pauses[i]));
      if (isOver) break;
      try {
        await change(history, random, kind);
        done.push(kind);
      } catch (error) {
        // Another installation may have come between.
        if (!(error instanceof SourceError || error instanceof CaptureError)) throw error;
        done.push(`${kind}: ${error.code}`);
      }
    }
    const end = await syncing;
    return `${describeOrder(order)}, during ${done.join(', ')}: ${describeEnd(end)}`;
  },
};

const LONGEST_CHANGE_MS = 60;

/** A process that compacts or installs the log is killed. */
const killedChange: Action = {
  name: 'kill a change of the log',
  weight: 4,
  applies: chooses,
  run: async (history, random) => {
    const told: string[] = [];
    for (let kills = random.int(2, 5); kills > 0; kills--) {
      // Something to compact.
      history.write(history.mode.statements(random, 5));
      const kind = random.pick(['compact', 'compact', 'install'] as const);
      const afterMs = random.int(0, LONGEST_CHANGE_MS);
      const isKilled = await killLogChange(
        { file: history.file, kind, all: random.chance(0.5) },
        afterMs,
      );
      if (isKilled) history.journal.killed(`${kind} after ${afterMs} ms`);
      told.push(`${kind} ${isKilled ? `killed after ${afterMs} ms` : 'ended'}`);
      history.journal.count('captureChanges');
    }
    return told.join(', ');
  },
};

export const CAPTURES: readonly Action[] = [changeLog, changeLogInSync];
/** Changes of the log by processes of their own. */
export const CAPTURE_KILLS: readonly Action[] = [killedChange];
