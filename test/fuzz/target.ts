import type { Random } from '../support/random.js';

/** Something that takes bytes which may be anything. */
export interface Target extends AsyncDisposable {
  /**
   * Tries one case.
   *
   * @throws what is not an answer that a caller may get: the failure of the case.
   */
  run(random: Random): void | Promise<void>;
}

/** Makes what all cases of a target share, in a directory of its own. */
export type TargetMaker = (directory: string) => Promise<Target>;
