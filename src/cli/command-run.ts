import { EXIT_DONE, EXIT_FAILED, exitCodeOf } from './exit-code.js';
import { isBrokenPipe, Output, type OutputFlags } from './output.js';
import type { Secrets } from './secrets.js';

/** What every command is given besides its flags. */
export interface CommandContext {
  readonly output: Output;
  readonly secrets: Secrets;
}

/** A command's work. It answers with the exit code; what it throws is reported, and gives the exit code too. */
export type Command = (context: CommandContext) => Promise<number>;

/** Runs a command's work between the streams and the exit code. Never throws. */
export async function runCommand(
  flags: OutputFlags,
  secrets: Secrets,
  command: Command,
): Promise<number> {
  const output = new Output(flags, secrets);
  const giveUp = (error: unknown): void => {
    void output.failure(error).finally(() => process.exit(EXIT_FAILED));
  };
  process.on('uncaughtException', giveUp);
  try {
    return await command({ output, secrets });
  } catch (error) {
    // Whoever read stdout has seen enough, as in `export | head`.
    if (isBrokenPipe(error)) return EXIT_DONE;
    // When not even the failure can be told, the exit code still does.
    await output.failure(error).catch(() => {});
    return exitCodeOf(error);
  } finally {
    process.off('uncaughtException', giveUp);
  }
}
