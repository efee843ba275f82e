import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ProgressMeter } from '../../src/progress-meter.js';
import type { SyncProgress } from '../../src/progress.js';

void describe('the progress of a sync', () => {
  void it('names the tables that are being read, each with its rows', () => {
    const told: SyncProgress[] = [];
    const meter = new ProgressMeter((progress) => told.push(progress), Promise.resolve());
    meter.begin(2, 0);
    assert.deepEqual(told.at(-1)!.lanes, []);
    meter.batch('a', 10, 100);
    meter.batch('b', 5, 50);
    meter.batch('a', 10, 100);
    meter.total('a', 15);
    assert.deepEqual(told.at(-1)!.lanes, [
      // A source that grew meanwhile has at least what was read.
      { table: 'a', rowsRead: 20, rowsTotal: 20 },
      { table: 'b', rowsRead: 5, rowsTotal: null },
    ]);
    meter.tableDone('a');
    assert.deepEqual(told.at(-1)!.lanes, [{ table: 'b', rowsRead: 5, rowsTotal: null }]);
    meter.tableDone('b');
    assert.deepEqual([told.at(-1)!.lanes, told.at(-1)!.tablesDone], [[], 2]);
  });
});
