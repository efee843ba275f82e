import type { HranaError } from './protocol.js';

/**
 * The client broke the protocol: HTTP 400 with a plain text body, or a WebSocket close frame.
 * Texts are those of `ProtocolError` in libsql-server/src/hrana/mod.rs.
 */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
  /** WebSocket close code, as `protocol_error_to_close_code` chooses it. */
  readonly closeCode: number;

  constructor(message: string, closeCode = 1008) {
    super(message);
    this.closeCode = closeCode;
  }
}

/** An answer of type "error": the request failed, the stream lives on. */
export class ResponseError extends Error {
  override readonly name = 'ResponseError';
  readonly code: string;

  constructor(message: string, code: string) {
    super(message);
    this.code = code;
  }

  toHrana(): HranaError {
    return { message: this.message, code: this.code };
  }
}

/** `StreamError::StreamExpired`: HTTP 400, but with an encoded `Error` as its body. */
export class StreamExpiredError extends Error {
  override readonly name = 'StreamExpiredError';
  readonly code = 'STREAM_EXPIRED';

  constructor() {
    super('The stream has expired due to inactivity');
  }
}

/** Any other server error: `{"error": message}` with this status (libsql-server/src/error.rs). */
export class ServerError extends Error {
  override readonly name = 'ServerError';
  readonly status: number;

  constructor(message: string, status = 500) {
    super(message);
    this.status = status;
  }
}

export const responseTooLarge = (): ResponseError =>
  new ResponseError('Response is too large', 'RESPONSE_TOO_LARGE');

export const transactionTimeout = (): ResponseError =>
  new ResponseError('Transaction timed out', 'TRANSACTION_TIMEOUT');
