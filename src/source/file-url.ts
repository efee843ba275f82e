import { existsSync, statSync } from 'node:fs';
import { ConfigError, SourceError } from '../errors.js';

/**
 * The path that a `file:` URL names.
 *
 * @throws {ConfigError} when the URL names a host.
 */
export function filePathOf(url: string): string {
  let rest = url.slice('file:'.length).replace(/[?#].*$/s, '');
  if (rest.startsWith('//')) {
    const end = rest.indexOf('/', 2);
    const host = end < 0 ? rest.slice(2) : rest.slice(2, end);
    if (host !== '' && host !== 'localhost') {
      throw new ConfigError(`A file: URL cannot name a host, as this one does (${host}).`, {
        hint: 'Write file:relative/path.db or file:///absolute/path.db.',
      });
    }
    rest = end < 0 ? '' : rest.slice(end);
  }
  try {
    return decodeURIComponent(rest);
  } catch {
    return rest;
  }
}

/** @throws {SourceError} `SOURCE_NOT_FOUND` when there is no such file. */
export function refuseMissing(path: string): void {
  if (path === '' || !existsSync(path)) {
    throw new SourceError(
      'SOURCE_NOT_FOUND',
      `The source file ${JSON.stringify(path)} does not exist.`,
      {
        context: { path },
        hint: 'Check --source; a relative path starts at the current directory.',
      },
    );
  }
  if (!statSync(path).isFile()) {
    throw new SourceError('SOURCE_NOT_FOUND', `The source ${JSON.stringify(path)} is not a file.`, {
      context: { path },
      hint: 'Name the database file itself.',
    });
  }
}
