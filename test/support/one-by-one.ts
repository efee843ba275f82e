import type { RowSink } from '../../src/source/row-sink.js';
import { takeNone, type LeafSink } from '../../src/source/stored/leaf-scan.js';

/** Takes all rows of leaves one by one. */
export function oneByOne(rows: RowSink): LeafSink {
  return { rows, begin: () => rows.start(0), takeLeaves: takeNone, takeRecord: () => false };
}
