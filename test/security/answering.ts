import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** A server that answers every request in one way, and knows what it was asked. */
export class Answering implements AsyncDisposable {
  readonly requests: { readonly authorization: string | undefined; readonly url: string }[] = [];
  readonly #server: Server;

  private constructor(answer: (request: IncomingMessage, response: ServerResponse) => void) {
    this.#server = createServer((request, response) => {
      this.requests.push({ authorization: request.headers.authorization, url: request.url ?? '' });
      answer(request, response);
    });
  }

  static async start(
    answer: (request: IncomingMessage, response: ServerResponse) => void,
    upgrade?: (request: IncomingMessage, socket: Socket) => void,
  ): Promise<Answering> {
    const answering = new Answering(answer);
    if (upgrade)
      answering.#server.on('upgrade', (request, socket) => {
        socket.on('error', () => undefined).resume();
        upgrade(request, socket as Socket);
      });
    await new Promise<void>((resolve) => answering.#server.listen(0, '127.0.0.1', resolve));
    return answering;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
