/** What the server has done since it was started or its statistics were reset. */
export interface HranaStats {
  /** HTTP requests, WebSocket handshakes included. */
  readonly requests: number;
  readonly requestsByPath: Readonly<Record<string, number>>;
  readonly connections: number;
  readonly wsConnections: number;
  /** Messages received on WebSockets. */
  readonly wsMessages: number;
  /** Bytes of response bodies and WebSocket messages, as far as they were really sent. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly statementCount: number;
  /** SQL texts in the order they were run; the first ten thousand. */
  readonly statements: readonly string[];
  readonly rowsReturned: number;
  readonly faultsFired: number;
  readonly replayed: number;
  /** Streams of Hrana over HTTP that are open now, and that have expired. */
  readonly openStreams: number;
  readonly expiredStreams: number;
}

const MAX_STATEMENTS = 10_000;

export class StatsCollector {
  requests = 0;
  requestsByPath: Record<string, number> = {};
  connections = 0;
  wsConnections = 0;
  wsMessages = 0;
  bytesSent = 0;
  bytesReceived = 0;
  statementCount = 0;
  statements: string[] = [];
  rowsReturned = 0;
  replayed = 0;

  request(path: string): void {
    this.requests++;
    this.requestsByPath[path] = (this.requestsByPath[path] ?? 0) + 1;
  }

  statement(sql: string): void {
    this.statementCount++;
    if (this.statements.length < MAX_STATEMENTS) {
      this.statements.push(sql);
    }
  }

  rows(count: number): void {
    this.rowsReturned += count;
  }

  reset(): void {
    Object.assign(this, new StatsCollector());
  }
}
