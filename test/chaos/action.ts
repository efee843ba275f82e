import type { Random } from '../support/random.js';
import type { History } from './history.js';

/** Something that may happen in a history. */
export interface Action {
  readonly name: string;
  /** How often it happens, against the others'. */
  readonly weight: number;
  /** Default: in every history, at any time. */
  readonly applies?: (history: History) => boolean;
  /**
   * Does it, by choices of `random` alone, and checks what it did.
   *
   * @returns what it did, in a few words.
   */
  readonly run: (history: History, random: Random) => Promise<string>;
}
