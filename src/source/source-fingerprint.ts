import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { ConfigError } from '../errors.js';
import { filePathOf } from './file-url.js';

/**
 * Tells sources apart without keeping their URLs. A file is known by its real path; a server by host and path, so that
 * the same database over `libsql:`, `https:` and `wss:` is the same source.
 */
export function sourceFingerprint(url: string): string {
  return createHash('sha256').update(identity(url)).digest('base64url').slice(0, 22);
}

function identity(url: string): string {
  if (/^file:/i.test(url)) return `file ${realpathSync(filePathOf(url))}`;
  const http = url.replace(/^[a-z]+:/i, 'http:');
  // The error of a URL that cannot be parsed holds all of it.
  if (!URL.canParse(http)) throw new ConfigError("The source's URL cannot be parsed.");
  const { host, pathname } = new URL(http);
  return `server ${host}${pathname.replace(/\/$/, '')}`;
}
