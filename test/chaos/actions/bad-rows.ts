import assert from 'node:assert/strict';
import { changeDatabase } from '../../support/databases.js';
import type { Action } from '../action.js';
import { describeEnd } from '../sync-order.js';
import { quietOrder } from './orders.js';

/** A row that no cache can hold: it fails the sync by name, or is set aside, and goes. */
const badRow: Action = {
  name: 'bad row',
  weight: 1,
  run: async (history, random) => {
    const { cursorColumn } = history.mode;
    const key = random.pick([`'bad'`, `'bad' || printf('%.*c', 3000, 'k')`]);
    const value = key === `'bad'` ? `CAST(x'61ff' AS TEXT)` : '1';
    const second = cursorColumn ?? (history.mode.tables?.some(({ limit }) => limit) ? 't' : 'u');
    // Beyond all other values: the newest row, where the newest are kept.
    const insert = `INSERT INTO texts (k, ${second}, v) VALUES (${key}, '~', ${value})`;
    const told: string[] = [];
    // A sync that goes on where another one was stopped need not look at the row.
    if (!history.isSettled) told.push(await history.settle(quietOrder(random), false));
    changeDatabase(history.file, insert);
    history.wasWritten(1);
    const onRowError = random.pick(['fail', 'quarantine'] as const);
    const order = { ...quietOrder(random), options: { onRowError } };
    const end = await history.sync(order, { moving: true, mayFail: ['ROW_REJECTED'] });
    told.push(`${onRowError}: ${describeEnd(end)}`);
    if (onRowError === 'fail') {
      assert.ok(end.kind === 'failed', `a row that is bad: ${describeEnd(end)}`);
      assert.match(end.message, /texts.*bad/, 'the failure names the row');
    } else {
      assert.ok(end.kind === 'completed', `a row that is bad: ${describeEnd(end)}`);
      assert.ok(end.report.tables['texts']!.rowsQuarantined >= 1, 'the row is set aside');
    }
    changeDatabase(history.file, `DELETE FROM texts WHERE k >= 'bad' AND k < 'bae'`);
    history.wasWritten(1);
    history.journal.held('G11');
    return told.join('; ');
  },
};

export const BAD_ROWS: readonly Action[] = [badRow];
