import { MessageChannel } from 'node:worker_threads';

/** Less is left to the garbage collector. */
const LEAST_BYTES = 32 * 1024;

/** Nobody is at its other end: what is moved to it is gone. */
const nowhere = new MessageChannel().port1;
nowhere.close();

/**
 * Gives the memory of bytes back at once, if it is all theirs: no other view of it may be in use. V8 is slow to notice
 * memory outside of its heap: a thread that makes little else would hold some 30 MB of it that nobody needs.
 */
export function freeMemory({ buffer, byteLength }: Uint8Array): void {
  // What Node shares between small buffers cannot be moved.
  const isWhole = byteLength === buffer.byteLength;
  if (!isWhole || byteLength < LEAST_BYTES || !(buffer instanceof ArrayBuffer)) return;
  nowhere.postMessage(null, [buffer]);
}
