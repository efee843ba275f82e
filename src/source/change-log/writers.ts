import { CaptureError, SourceError } from '../../errors.js';
import type { Query } from '../connection.js';

/**
 * Refuses a source where two transactions may write at once, as under `BEGIN CONCURRENT` with multi-version storage:
 * there, versions would not grow in commit order.
 *
 * @throws {CaptureError} `CAPTURE_UNSAFE`
 */
export async function refuseUnserializedWriters(query: Query): Promise<void> {
  const mode = await journalMode(query);
  if (mode === null || !/mvcc|concurrent/i.test(mode)) return;
  throw new CaptureError(
    'CAPTURE_UNSAFE',
    `The source lets transactions write at the same time (journal_mode ${mode}), so its changes cannot be numbered in the order of their commits.`,
    { context: { journalMode: mode }, hint: 'Use full syncs, or another journal_mode.' },
  );
}

async function journalMode(query: Query): Promise<string | null> {
  try {
    const [row] = await query('PRAGMA journal_mode');
    return row ? String(row[0]) : null;
  } catch (error) {
    // A server that keeps the pragma to itself has one writer.
    if (error instanceof SourceError && error.code === 'SOURCE_SQL') return null;
    throw error;
  }
}
