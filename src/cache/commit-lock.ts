import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { unlock, waitForLockSync } from 'fs-native-extensions';
import { FILE_MODE } from './files.js';

/**
 * Keeps the opening and the closing of an LMDB environment and the transactions that write it apart, over all processes
 * and threads.
 *
 * Opening one, lmdb-js reads the newest transaction's number from the file and then writes it into the lock region that
 * all processes share (`mdb_env_open2`), without LMDB's own locks. A commit in between is undone by that: the next
 * transaction starts from the state before it.
 *
 * Whoever closes the environment last destroys the mutexes in that region (`mdb_env_close_active`), and whoever opens it
 * meanwhile waits only until that is over: then it takes destroyed mutexes for those of a writer, and no transaction can
 * begin until all have closed it.
 *
 * An operating-system lock on an open file description: it ends with the process that holds it, however that ends.
 */
export class CommitLock {
  readonly #fd: number;
  #holds = 0;

  /** @param generationDir where the environment is. */
  constructor(generationDir: string) {
    this.#fd = openSync(join(generationDir, 'commit.lock'), 'a+', FILE_MODE);
  }

  /** Runs `work` while nobody else holds the lock. The block must be synchronous. */
  hold<T>(work: () => T): T {
    if (this.#holds === 0) waitForLockSync(this.#fd);
    this.#holds++;
    try {
      return work();
    } finally {
      this.#holds--;
      if (this.#holds === 0) unlock(this.#fd);
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}
