import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { ServedDatabase } from './database.js';
import type { FaultRules } from './faults.js';
import { HttpHandler } from './http.js';
import type { ResolvedOptions } from './options.js';
import type { StatsCollector } from './stats.js';
import { HttpStreams } from './streams.js';
import { WebSocketHandler } from './websocket.js';

/** One life of the server, from listening to going down; nothing of it outlives a stop. */
export class Listener {
  readonly #server: Server;
  readonly #database: ServedDatabase;
  readonly #streams: HttpStreams;
  readonly #webSockets: WebSocketHandler;
  readonly #sockets = new Set<Socket>();

  constructor(options: ResolvedOptions, faults: FaultRules, stats: StatsCollector) {
    const database = new ServedDatabase(options.file, options, stats);
    const streams = new HttpStreams(database, options.streamIdleMs);
    const http = new HttpHandler({ options, database, streams, faults, stats });
    this.#database = database;
    this.#streams = streams;
    this.#webSockets = new WebSocketHandler({ options, database, faults, stats });
    this.#server = createServer((req, res) => {
      // A request cut off by its client ends here; the answer has nobody to go to.
      http.handle(req, res).catch(() => res.destroy());
    });
    // As the reference's HTTP server: an idle connection is kept.
    this.#server.keepAliveTimeout = 0;
    this.#server.requestTimeout = 0;
    this.#server.headersTimeout = 0;
    this.#server.on('connection', (socket) => {
      stats.connections++;
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
    this.#server.on('upgrade', (req, socket, head) => {
      this.#webSockets.upgrade(req, socket, head).catch(() => socket.destroy());
    });
  }

  get openStreams(): number {
    return this.#streams.openCount;
  }

  get expiredStreams(): number {
    return this.#streams.expiredCount;
  }

  async listen(port: number): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, '127.0.0.1', () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    return (this.#server.address() as AddressInfo).port;
  }

  /** Goes down at once: breaks every connection and forgets every stream. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    this.#webSockets.close();
    for (const socket of this.#sockets) {
      socket.destroy();
    }
    await closed;
    this.#streams.close();
    this.#database.close();
  }
}
