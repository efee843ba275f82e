import type { BytesDatabase, Environment } from '../../../src/cache/environment.js';

/** Puts points into an environment: before and after each put and each commit. */
export function watchEnvironment(environment: Environment, reach: (step: string) => void): void {
  const transaction = environment.transaction.bind(environment);
  environment.transaction = <T>(write: () => T): T => {
    const result = transaction(() => {
      const written = write();
      reach('before-commit');
      return written;
    });
    reach('after-commit');
    return result;
  };

  const database = environment.database.bind(environment);
  const watched = new Set<BytesDatabase>();
  environment.database = (name) => {
    const found = database(name);
    if (!watched.has(found)) {
      watched.add(found);
      const put = found.putSync.bind(found) as (...args: unknown[]) => unknown;
      found.putSync = ((...args: unknown[]) => {
        reach('before-put');
        const result = put(...args);
        reach('after-put');
        return result;
      }) as typeof found.putSync;
    }
    return found;
  };
}
