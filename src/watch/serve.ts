import type { AddressInfo } from 'node:net';
import { createAdaptorServer, type ServerType } from '@hono/node-server';
import type { Hono } from 'hono';
import { ConfigError } from '../errors.js';
import type { Logger } from '../logger.js';
import { watchApp, type WatchAppOptions } from './http.js';

/** Where to listen. */
export interface ListenOptions {
  readonly host: string;
  /** 0 takes one that is free. */
  readonly port: number;
  readonly logger: Logger;
}

export interface ServeOptions extends ListenOptions, Omit<WatchAppOptions, 'hosts'> {}

/** A port that is listened on, and what is served there. */
export interface WatchServer extends AsyncDisposable {
  readonly address: AddressInfo;
  readonly url: string;
  /** Begins to answer. */
  serve(options: Omit<WatchAppOptions, 'hosts'>): void;
}

/** Addresses that only this machine can call. */
const LOOPBACK = ['localhost', '127.0.0.1', '[::1]', '::1'];
/** How long a client may take over a request's headers, and over all of it, in milliseconds. */
const HEADERS_TIMEOUT_MS = 5000;
const REQUEST_TIMEOUT_MS = 10_000;

/**
 * Serves a watch's endpoints.
 *
 * @throws {ConfigError} when it cannot listen there.
 */
export async function serveWatch({
  host,
  port,
  logger,
  ...options
}: ServeOptions): Promise<WatchServer> {
  const server = await listen({ host, port, logger });
  server.serve(options);
  return server;
}

/**
 * Takes a port, on which a watch that is yet to begin can be served.
 *
 * @throws {ConfigError} when it cannot listen there.
 */
export async function listen({ host, port, logger }: ListenOptions): Promise<WatchServer> {
  // Behind an address that others can call there may be any name, a proxy's for one.
  const hosts = LOOPBACK.includes(host) ? LOOPBACK : null;
  let app: Hono | null = null;
  const server = createAdaptorServer({
    fetch: (request, env) => app?.fetch(request, env) ?? new Response(null, { status: 503 }),
    serverOptions: {
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: HEADERS_TIMEOUT_MS,
    },
  });
  await listening(server, host, port);
  server.on('error', (error) => logger.error({ err: error }, 'The server failed.'));
  const address = server.address() as AddressInfo;
  const name = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return {
    address,
    url: `http://${name}:${address.port}/`,
    serve(options) {
      app = watchApp({ ...options, hosts });
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      if ('closeAllConnections' in server) server.closeAllConnections();
      await closed;
    },
  };
}

async function listening(server: ServerType, host: string, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException) => reject(listenError(error, host, port));
    server.once('error', onError);
    server.listen(port, host, () => {
      server.off('error', onError);
      resolve();
    });
  });
}

function listenError(cause: NodeJS.ErrnoException, host: string, port: number): ConfigError {
  const isUsed = cause.code === 'EADDRINUSE';
  const why = isUsed ? 'another process listens there' : cause.message;
  return new ConfigError(`Port ${port} of ${JSON.stringify(host)} cannot be listened on: ${why}.`, {
    cause,
    context: { host, port },
    hint: isUsed
      ? 'Give another --port, 0 for a free one, or --no-server for none.'
      : 'Give another --host or --port, or --no-server for none.',
  });
}
