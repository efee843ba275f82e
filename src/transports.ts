/** The ways to read a source that can be asked for. */
export const TRANSPORTS = [
  'auto',
  'native',
  'client',
  'http-protobuf-cursor',
  'http-json-cursor',
  'http-pipeline',
] as const;

export type Transport = (typeof TRANSPORTS)[number];
