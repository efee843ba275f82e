/**
 * How a source is read. `auto` takes the fastest way that the URL and the server have:
 *
 * | transport              | reads                                                          |
 * |------------------------|----------------------------------------------------------------|
 * | `native`               | `file:`, out of the file's own pages                           |
 * | `http-protobuf-cursor` | a server, by Hrana 3 cursors in protobuf                       |
 * | `http-json-cursor`     | a server, by Hrana 3 cursors in JSON                           |
 * | `http-pipeline`        | a server, by Hrana 2 pipelines                                 |
 * | `client`               | every URL, by `@libsql/client`; the way for `ws:` and `wss:`   |
 */
export type Transport =
  'auto' | 'native' | 'client' | 'http-protobuf-cursor' | 'http-json-cursor' | 'http-pipeline';

/** The ways to read a source that can be asked for. */
export const TRANSPORTS = [
  'auto',
  'native',
  'client',
  'http-protobuf-cursor',
  'http-json-cursor',
  'http-pipeline',
] as const satisfies readonly Transport[];
