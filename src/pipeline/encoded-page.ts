import type { Page } from '../source/page.js';
import type { BatchBuilder } from '../transform/batch.js';
import type { EncodedPage } from './messages.js';
import { encodePosition } from './position.js';

/** A page whose rows a builder has, as it crosses threads. */
export function encodedPage(page: Page, builder: BatchBuilder): Omit<EncodedPage, 'retries'> {
  return {
    batch: builder.finish(),
    rejected: page.rejected,
    position: encodePosition(page.position),
    done: page.done,
    sourceRows: page.sourceRows,
    nextMaxRows: page.nextMaxRows,
  };
}
