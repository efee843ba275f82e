import type { ModeFactory } from '../mode.js';
import { KEYED_SCHEMA, keyedBulk, keyedDefinitions, keyedStatements } from './keyed.js';

/** Tables of every kind of key, followed by the source's change log. */
export const changeLog: ModeFactory = (random) => ({
  schema: KEYED_SCHEMA,
  tables: random.chance(0.3) ? undefined : keyedDefinitions(),
  captured: true,
  statements: keyedStatements,
  bulk: keyedBulk,
  where: {},
  keepsRows: true,
  together: random.chance(0.4),
});
