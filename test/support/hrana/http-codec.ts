import type {
  CursorEntry,
  CursorReqBody,
  CursorRespBody,
  HranaEncoding,
  HranaError,
  PipelineReqBody,
  PipelineRespBody,
} from './protocol.js';
import * as json from './protocol-json.js';
import * as protobuf from './protocol-protobuf.js';

/** One encoding of the bodies of Hrana over HTTP. */
export interface HttpCodec {
  readonly contentType: string;
  readonly cursorContentType: string;
  decodePipeline(body: Uint8Array): PipelineReqBody;
  decodeCursor(body: Uint8Array): CursorReqBody;
  pipeline(body: PipelineRespBody): Uint8Array;
  error(error: HranaError): Uint8Array;
  /** One delimited item of a cursor's body. */
  cursorHead(head: CursorRespBody): Uint8Array;
  cursorEntries(entries: readonly CursorEntry[]): Uint8Array;
}

const jsonCodec: HttpCodec = {
  contentType: 'application/json',
  cursorContentType: 'text/plain',
  decodePipeline: json.decodePipelineRequest,
  decodeCursor: json.decodeCursorRequest,
  pipeline: (body) => Buffer.from(json.writePipelineResponse(body)),
  error: (error) => Buffer.from(json.writeError(error)),
  cursorHead: (head) => Buffer.from(`${json.writeCursorHead(head)}\n`),
  cursorEntries: (entries) =>
    Buffer.from(entries.map((entry) => `${json.writeCursorEntry(entry)}\n`).join('')),
};

const protobufCodec: HttpCodec = {
  contentType: 'application/x-protobuf',
  cursorContentType: 'application/octet-stream',
  decodePipeline: protobuf.decodePipelineRequest,
  decodeCursor: protobuf.decodeCursorRequest,
  pipeline: protobuf.encodePipelineResponse,
  error: protobuf.encodeError,
  cursorHead: protobuf.encodeCursorHead,
  cursorEntries: protobuf.encodeCursorEntries,
};

export const HTTP_CODECS: Readonly<Record<HranaEncoding, HttpCodec>> = {
  json: jsonCodec,
  protobuf: protobufCodec,
};
