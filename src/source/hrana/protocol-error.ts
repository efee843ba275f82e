import { SourceError } from '../../errors.js';

/**
 * An answer that is not as the protocol says.
 *
 * @param serverFailed true where the server may have broken it off because it failed inside.
 */
export function malformed(why: string, cause?: unknown, serverFailed = false): SourceError {
  return new SourceError('SOURCE_PROTOCOL', `The source answered out of protocol: ${why}.`, {
    cause,
    ...(serverFailed ? { context: { serverFailed } } : {}),
    hint: 'Try again. If it stays so, check what lies between here and the server.',
  });
}
