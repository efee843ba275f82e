import type { Statement } from '../connection.js';
import type { TakenEntries } from '../entry-taker.js';
import { malformed } from './protocol-error.js';
import {
  CURSOR_MORE,
  type CursorDecoder,
  type CursorEncoding,
  type CursorState,
  type TakeEntries,
} from './cursor-decoder.js';
import type { AnswerBody, HttpExchange } from './http-exchange.js';
import { followBase } from './pipeline.js';
import type { WireRow } from './wire-row.js';

/** The rows of one statement, as they come. */
export class RowCursor {
  readonly #exchange: HttpExchange;
  readonly #base: URL;
  readonly #encoding: CursorEncoding;
  readonly #body: AnswerBody;
  readonly #decoder: CursorDecoder;

  private constructor(
    exchange: HttpExchange,
    base: URL,
    encoding: CursorEncoding,
    body: AnswerBody,
    decoder: CursorDecoder,
  ) {
    this.#exchange = exchange;
    this.#base = base;
    this.#encoding = encoding;
    this.#body = body;
    this.#decoder = decoder;
  }

  /** @param maxRowBytes a longer row is refused. */
  static async open(
    exchange: HttpExchange,
    base: URL,
    encoding: CursorEncoding,
    statement: Statement,
    maxRowBytes: number,
  ): Promise<RowCursor> {
    const body = await exchange.send({
      url: new URL(encoding.path, base),
      contentType: encoding.contentType,
      body: encoding.request(statement),
    });
    return new RowCursor(exchange, base, encoding, body, encoding.decoder(maxRowBytes));
  }

  /** The row that {@link next} has met. */
  get row(): WireRow {
    return this.#decoder.row;
  }

  /** The row before that one. */
  get previous(): WireRow {
    return this.#decoder.previous;
  }

  /**
   * Goes on to the next row, as far as the bytes go that have come.
   *
   * @throws {SourceError} for what is not of the protocol, and for an error that the server tells.
   */
  next(): CursorState {
    for (;;) {
      const state = this.#decoder.next();
      if (state !== CURSOR_MORE) return state;
      const piece = this.#body.poll();
      if (piece === null) return CURSOR_MORE;
      this.#decoder.feed(piece);
    }
  }

  /** Lets others take the first ones of the rows that have come: see {@link CursorDecoder.takeEntries}. */
  takeEntries(take: TakeEntries): TakenEntries | null {
    return this.#decoder.takeEntries?.(take) ?? null;
  }

  /**
   * Waits for more bytes.
   *
   * @param until when to give up, as `performance.now()` tells it.
   * @throws {SourceError} when the answer breaks off, or nothing comes in time.
   */
  async wait(until: number): Promise<void> {
    const piece = await this.#body.piece(until);
    if (piece === null) throw malformed('it ends in the middle', undefined, true);
    this.#decoder.feed(piece);
  }

  /** Ends a cursor that has given all its rows. */
  end(): void {
    void this.#body.finish().then(async () => await this.#closeStream());
  }

  /** Gives up a cursor. */
  drop(): void {
    this.#body.drop();
    void this.#closeStream();
  }

  /** Lets the server forget the stream of which the cursor was. It does so by itself a while later. */
  async #closeStream(): Promise<void> {
    const { head } = this.#decoder;
    if (!head?.baton) return;
    try {
      const { pipelinePath, contentType } = this.#encoding;
      const url = new URL(pipelinePath, followBase(this.#base, head.baseUrl));
      const body = this.#encoding.closing(head.baton);
      await this.#exchange.fetch({ url, contentType, body }, MAX_CLOSING_BYTES);
    } catch {
      // Then the server has forgotten it already, or will.
    }
  }
}

const MAX_CLOSING_BYTES = 64 * 1024;
