import type { Cell } from '../values.js';
import type { SourceConnection } from './connection.js';
import type { PageBounds } from './page.js';
import type { RowSink } from './row-sink.js';
import type { Scan } from './scan.js';

/** One page to read. */
export interface PageRequest {
  readonly connection: SourceConnection;
  readonly scan: Scan;
  /** The page begins behind this. */
  readonly start: readonly Cell[] | null;
  readonly bounds: PageBounds;
  readonly sink: RowSink;
  readonly signal: AbortSignal | undefined;
}
