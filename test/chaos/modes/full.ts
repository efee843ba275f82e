import type { ModeFactory } from '../mode.js';
import { KEYED_SCHEMA, keyedBulk, keyedDefinitions, keyedStatements } from './keyed.js';

/** Every table is read in full at every sync; one has no key. Discovered or defined. */
export const full: ModeFactory = (random) => {
  const isDiscovered = random.chance(0.3);
  return {
    schema: `${KEYED_SCHEMA}; CREATE TABLE heap (u, v)`,
    tables: isDiscovered ? undefined : [...keyedDefinitions(), { name: 'heap' }],
    captured: false,
    statements: (choice, count) => [
      ...keyedStatements(choice, count),
      choice.pick([
        `INSERT INTO heap VALUES ('${choice.int(1, 99)}', ${choice.int(1, 9)})`,
        `DELETE FROM heap WHERE v = ${choice.int(1, 9)}`,
        `UPDATE heap SET u = u || 'x' WHERE v < ${choice.int(1, 9)}`,
      ]),
    ],
    bulk: keyedBulk,
    where: {},
    keepsRows: true,
    together: false,
  };
};
