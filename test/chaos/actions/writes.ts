import type { Action } from '../action.js';

const transaction: Action = {
  name: 'transaction',
  weight: 6,
  run: (history, random) => {
    const statements = history.mode.statements(random, random.int(1, 20));
    history.write(statements);
    return Promise.resolve(statements.join('; '));
  },
};

const rolledBack: Action = {
  name: 'rolled back',
  weight: 1,
  run: (history, random) => {
    const statements = history.mode.statements(random, random.int(1, 20));
    history.write(statements, 'ROLLBACK');
    return Promise.resolve(statements.join('; '));
  },
};

const bulk: Action = {
  name: 'bulk',
  weight: 2,
  run: (history, random) => {
    const statement = history.mode.bulk(random, history.isFast ? 200 : 4000);
    history.write([statement]);
    return Promise.resolve(statement);
  },
};

export const WRITES: readonly Action[] = [transaction, rolledBack, bulk];
