import { ConfigError } from '../errors.js';
import type { Transport } from '../options.js';
import type { SourceConnection } from './connection.js';
import { filePathOf, refuseMissing } from './file-url.js';
import { serverAddress } from './hrana/server-url.js';
import type { RetryOptions } from './retry.js';

/** What it takes to reach a source. Plain data: it crosses threads. */
export interface ConnectionConfig extends RetryOptions {
  readonly url: string;
  readonly authToken: string | undefined;
  readonly requestTimeoutMs: number;
  readonly transport: Transport;
}

/**
 * Connects to a source by the transport asked for, or by the fastest that its URL allows.
 *
 * @throws {SourceError} when a file does not exist; a server is first contacted by the first query.
 * @throws {ConfigError} when the URL is malformed or the transport does not fit it.
 */
export async function connect(config: ConnectionConfig): Promise<SourceConnection> {
  const isFile = /^file:/i.test(config.url);
  if (isFile) refuseMissing(filePathOf(config.url));
  if (config.transport === 'native' && !isFile) {
    throw new ConfigError('The transport "native" reads file: URLs only.', {
      hint: 'Leave the transport at "auto".',
    });
  }
  if (config.transport.startsWith('http-') && (isFile || serverAddress(config.url) === null)) {
    throw new ConfigError(
      `The transport ${JSON.stringify(config.transport)} reads http:, https: and libsql: URLs only.`,
      { hint: 'Leave the transport at "auto".' },
    );
  }
  // Each brings a large module along, of which a thread needs one at most.
  if (isFile && config.transport !== 'client') {
    const { NativeConnection } = await import('./native-connection.js');
    return new NativeConnection(config.url);
  }
  const server = config.transport === 'client' ? null : serverAddress(config.url);
  if (server !== null) {
    const { HranaConnection } = await import('./hrana/hrana-connection.js');
    const { transport } = config;
    const isNamed = transport !== 'auto' && transport !== 'native' && transport !== 'client';
    return new HranaConnection({ ...config, server, transport: isNamed ? transport : null });
  }
  const { ClientConnection } = await import('./client-connection.js');
  return new ClientConnection(config);
}
