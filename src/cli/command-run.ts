import { setTimeout as sleep } from 'node:timers/promises';
import { EXIT_DONE, EXIT_FAILED, exitCodeOf } from './exit-code.js';
import { isBrokenPipe, Output, type OutputFlags } from './output.js';
import type { Secrets } from '../secrets.js';

/** What every command is given besides its flags. */
export interface CommandContext {
  readonly output: Output;
  readonly secrets: Secrets;
  /**
   * What must be ended before the process may: threads in native code do not survive an exit beside them. Run when the
   * command cannot end by itself.
   */
  readonly cleanups: Set<() => Promise<void>>;
}

/** A command's work. It answers with the exit code; what it throws is reported, and gives the exit code too. */
export type Command = (context: CommandContext) => Promise<number>;

const SHOWN_TOKEN =
  'Other users of this machine may have seen the token of --auth-token. Set TURSO_AUTH_TOKEN, or use a --config file.';

const LONGEST_CLEANUP_MS = 10_000;

/** Runs a command's work between the streams and the exit code. Never throws. */
export async function runCommand(
  flags: OutputFlags,
  secrets: Secrets,
  command: Command,
): Promise<number> {
  const output = new Output(flags, secrets);
  if ('authToken' in flags) {
    // What a process was started with is what everybody sees of it, until it gives itself another title.
    process.title = 'storage-sync';
    output.note(`warning: ${SHOWN_TOKEN}`);
  }
  const cleanups = new Set<() => Promise<void>>();
  let givesUp = false;
  const giveUp = (error: unknown): void => {
    if (givesUp) return;
    givesUp = true;
    const told = output.failure(error).catch(() => {});
    const ended = told.then(() => Promise.allSettled([...cleanups].map((end) => end())));
    void Promise.race([ended, sleep(LONGEST_CLEANUP_MS)]).then(() => process.exit(EXIT_FAILED));
  };
  process.on('uncaughtException', giveUp);
  try {
    return await command({ output, secrets, cleanups });
  } catch (error) {
    if (givesUp) return EXIT_FAILED;
    // Whoever read stdout has seen enough, as in `export | head`.
    if (isBrokenPipe(error)) return EXIT_DONE;
    // When not even the failure can be told, the exit code still does.
    await output.failure(error).catch(() => {});
    return exitCodeOf(error);
  } finally {
    process.off('uncaughtException', giveUp);
  }
}
