import type { TargetMaker } from './target.js';
import { cacheFiles } from './targets/cache-files.js';
import { kernel } from './targets/kernel.js';
import { sourceFiles } from './targets/source-files.js';
import { storedBytes } from './targets/stored-bytes.js';
import { wireCursor } from './targets/wire-cursor.js';
import { wireHttp } from './targets/wire-http.js';
import { wirePipeline } from './targets/wire-pipeline.js';
import { wireWebSocket } from './targets/wire-websocket.js';

export interface TargetSpec {
  readonly make: TargetMaker;
  /** Of all cases, the part that is this target's. */
  readonly share: number;
}

export const TARGETS = {
  'wire-http': { make: wireHttp, share: 0.22 },
  'wire-pipeline': { make: wirePipeline, share: 0.1 },
  'wire-cursor': { make: wireCursor, share: 0.2 },
  'wire-websocket': { make: wireWebSocket, share: 0.02 },
  'stored-bytes': { make: storedBytes, share: 0.15 },
  kernel: { make: kernel, share: 0.2 },
  'source-files': { make: sourceFiles, share: 0.1 },
  'cache-files': { make: cacheFiles, share: 0.01 },
} satisfies Record<string, TargetSpec>;

export type TargetName = keyof typeof TARGETS;
export const TARGET_NAMES = Object.keys(TARGETS) as readonly TargetName[];
