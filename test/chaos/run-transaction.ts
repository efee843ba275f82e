import type { NativeDatabase } from '../support/databases.js';

/** Runs statements in one transaction. One that breaks a constraint is left out, as an application would. */
export function runTransaction(
  database: NativeDatabase,
  statements: readonly string[],
  end: 'COMMIT' | 'ROLLBACK' = 'COMMIT',
): void {
  database.exec('PRAGMA foreign_keys = on; BEGIN IMMEDIATE');
  try {
    for (const sql of statements) {
      try {
        database.exec(sql);
      } catch (error) {
        if (!isConstraint(error)) throw error;
      }
    }
    database.exec(database.inTransaction ? end : '');
  } catch (error) {
    if (database.inTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

function isConstraint(error: unknown): boolean {
  return error instanceof Error && 'code' in error && /CONSTRAINT/.test(String(error.code));
}
