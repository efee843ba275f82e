import { once } from 'node:events';
import { Agent, createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Requests that come within so long of one another did not wait for each other's answers. */
const QUIET_MS = 250;
/** After so long somebody seems to wait for the end of a stream after all. */
const CLOSING_MS = 3000;

interface Held {
  readonly path: string;
  readonly body: Buffer;
  readonly message: IncomingMessage;
  readonly response: ServerResponse;
}

/** What one round consisted of: the path of each request, and how its body begins. */
export type Round = readonly string[];

/**
 * Stands before a server and counts round trips that follow one another: requests are held until no more come, then all
 * of them go on. What only ends a stream goes on with others, for nobody is to wait for it.
 */
export class RoundTrips implements AsyncDisposable {
  readonly #port: number;
  readonly #server = createServer((message, response) => void this.#take(message, response));
  readonly #agent = new Agent({ keepAlive: true });
  #held: Held[] = [];
  #rounds: Round[] = [];
  #timer: NodeJS.Timeout | undefined;

  private constructor(port: number) {
    this.#port = port;
  }

  static async before(port: number): Promise<RoundTrips> {
    const trips = new RoundTrips(port);
    trips.#server.listen(0, '127.0.0.1');
    await once(trips.#server, 'listening');
    return trips;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The rounds since they were taken last. */
  take(): readonly Round[] {
    const rounds = this.#rounds;
    this.#rounds = [];
    return rounds;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    this.#server.close();
    this.#server.closeAllConnections();
    this.#agent.destroy();
    await once(this.#server, 'close');
  }

  async #take(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of message) pieces.push(piece as Buffer);
    this.#held.push({ path: message.url!, body: Buffer.concat(pieces), message, response });
    clearTimeout(this.#timer);
    const isWaitedFor = this.#held.some((held) => !isClosing(held));
    this.#timer = setTimeout(() => this.#release(), isWaitedFor ? QUIET_MS : CLOSING_MS);
  }

  #release(): void {
    const held = this.#held;
    this.#held = [];
    this.#rounds.push(held.map(({ path, body }) => `${path} ${body.toString('latin1', 0, 200)}`));
    for (const each of held) this.#forward(each);
  }

  #forward({ message, path, body, response }: Held): void {
    const { method, headers } = message;
    const onward = request(
      { port: this.#port, host: '127.0.0.1', path, method, headers, agent: this.#agent },
      (answer) => {
        response.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(response);
      },
    );
    onward.on('error', () => response.destroy());
    onward.end(body);
  }
}

/** Statements are text in either encoding, and begin so. */
function isClosing({ path, body }: Held): boolean {
  return path.endsWith('/pipeline') && !/SELECT|BEGIN/.test(body.toString('latin1'));
}
